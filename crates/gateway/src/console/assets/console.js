// The console's script: passkeys, keys, and looking again when there is something new. It decides nothing, and shows no text of
// its own making but in text nodes; every page works without it but for passkeys.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const token = () => $("meta[name=console-token]")?.content ?? "";
  const policy = window.trustedTypes?.createPolicy("console", { createHTML: (page) => page });

  const bytes = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (c) => c.charCodeAt(0));
  };
  const base64url = (buffer) => {
    let plain = "";
    for (const byte of new Uint8Array(buffer)) plain += String.fromCharCode(byte);
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  function say(text, isBad = false) {
    const said = $("#said");
    if (!said) return;
    said.textContent = text;
    said.classList.toggle("bad", isBad);
  }

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-console-token": token() },
      body: JSON.stringify(body),
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.error || `the gate answered ${answer.status}`);
    return told;
  }

  const listed = (known = []) => known.map((one) => ({ ...one, id: bytes(one.id) }));

  async function make(options) {
    const made = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: listed(options.excludeCredentials),
      },
    });
    return {
      client_data: base64url(made.response.clientDataJSON),
      attestation: base64url(made.response.attestationObject),
    };
  }

  async function use(options) {
    const used = await navigator.credentials.get({
      publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: listed(options.allowCredentials) },
    });
    return {
      credential: base64url(used.rawId),
      client_data: base64url(used.response.clientDataJSON),
      authenticator_data: base64url(used.response.authenticatorData),
      signature: base64url(used.response.signature),
    };
  }

  // One ceremony at a time; what the authenticator says when a person turns away is no fault.
  function ceremony(form, act) {
    form?.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = $("button", form);
      button.disabled = true;
      say("Waiting for your passkey…");
      try {
        await act(form);
      } catch (error) {
        say(error.name === "NotAllowedError" ? "The passkey was not used. Try again." : error.message, true);
        button.disabled = false;
        button.focus();
      }
    });
  }

  ceremony($("#sign-in"), async (form) => {
    const { flow, options } = await post("/console/sign-in/begin", {});
    await post("/console/sign-in/finish", { flow, ...(await use(options)) });
    location.replace(form.dataset.next);
  });

  const enrol = $("#enrol");
  if (enrol) {
    const code = location.hash.slice(1);
    if (code) {
      enrol.elements.code.value = code;
      // The code is nobody else's to read: neither the address bar nor the history keeps it.
      history.replaceState(null, "", location.pathname);
      post("/console/enrol/begin", { code }).then(
        ({ role, name }) => {
          $("#meant").textContent = `This link makes you ${role === "viewer" ? "a" : "an"} ${role}.`;
          if (name) {
            enrol.elements.name.value = name;
            enrol.elements.name.readOnly = true;
          }
        },
        (error) => say(error.message, true),
      );
    }
    ceremony(enrol, async () => {
      const [code, name] = [enrol.elements.code.value.trim(), enrol.elements.name.value.trim()];
      const { flow, options } = await post("/console/enrol/begin", { code, name });
      await post("/console/enrol/finish", { flow, ...(await make(options)) });
      location.replace("/console/approvals");
    });
  }

  function arm(root) {
    for (const granting of $$("form[data-answer]", root)) {
      ceremony(granting, async (form) => {
        const { action, request, answer } = form.dataset;
        const fields = Object.fromEntries(new FormData(form));
        const { flow, options, means } = await post(`${action}/challenge`, { request, answer, fields });
        say(`Waiting for your passkey: ${means}`);
        const told = await post(`${action}/grant`, { flow, ...(await use(options)) });
        $("button", form).disabled = false;
        if (told.link) {
          $("#link").textContent = told.link;
          say("The link is shown this once.");
          return;
        }
        const words = { granted: "Granted.", pending: "You agreed. Another person must, too." };
        say(words[told.state] ?? `It is ${told.state}.`);
        form.closest("details")?.removeAttribute("open");
        $("#main").focus();
        await look();
      });
    }
    // A grant is pressed, never slipped into with the last key of a text.
    for (const field of $$("form[data-answer] input", root)) {
      field.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
    }
    for (const form of $$("form[data-ask]", root)) {
      form.addEventListener("submit", (event) => {
        if (!confirm(form.dataset.ask)) event.preventDefault();
      });
    }
  }

  // Looking again: the same page is asked for once more and its main part put in place of the old one.
  let looking = false;
  let again = false;
  let isStale = false;
  async function look() {
    const main = $("#main");
    if (!main || looking) {
      again = looking;
      return;
    }
    looking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/console/sign-in") {
        location.assign(answer.url);
        return;
      }
      const text = await answer.text();
      const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
      const fresh = $("#main", page);
      if (!fresh) return;
      // Looked at again as soon as hands are off.
      isStale = isBusy(main);
      if (isStale) return;
      keep(main, fresh);
      main.dataset.seen = fresh.dataset.seen;
      const nav = $(".bar nav", page);
      if (nav) $(".bar nav").replaceWith(document.adoptNode(nav));
      document.title = page.title;
      arm(main);
      tell();
    } finally {
      looking = false;
      if (again) {
        again = false;
        look();
      }
    }
  }

  // Nothing is moved under somebody's hands.
  const isBusy = (main) => {
    const here = document.activeElement;
    const isTyping = main.contains(here) && here.matches("input, textarea, select") && here.value !== here.defaultValue;
    return isTyping || $("button:disabled, details.shape[open]", main) !== null || !getSelection().isCollapsed;
  };

  function keep(main, fresh) {
    const here = document.activeElement;
    const mark = main.contains(here) ? { id: here.id, row: here.dataset?.id } : null;
    const at = scrollY;
    main.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
    if (mark) {
      const same = (mark.row && $(`[data-id="${CSS.escape(mark.row)}"]`, main)) || (mark.id && document.getElementById(mark.id));
      if (same) same.focus({ preventScroll: true });
    }
    scrollTo(0, at);
  }

  const live = $("#main")?.dataset.live;
  if (live) {
    let timer = null;
    let events = null;
    const listen = () => {
      events = new EventSource("/console/events");
      events.onmessage = ({ data }) => {
        // The page says up to where it tells; what came before its stream was open is not lost.
        if (String(JSON.parse(data)[live]) !== $("#main").dataset.seen && !timer) {
          // A busy gate is looked at a few times in a second, no more.
          timer = setTimeout(() => {
            timer = null;
            look();
          }, live === "approvals" ? 20 : 400);
        }
      };
      events.onopen = () => document.body.classList.remove("cut-off");
      events.onerror = () => document.body.classList.add("cut-off");
    };
    // Browsers keep few connections to one host: a page that nobody sees gives its own back.
    document.addEventListener("visibilitychange", () => {
      events?.close();
      if (!document.hidden) listen();
    });
    addEventListener("pagehide", () => events?.close());
    addEventListener("pageshow", ({ persisted }) => persisted && listen());
    if (!document.hidden) listen();
  }

  // Times are told anew.
  function span(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} days`;
  }
  function tell() {
    const now = Math.floor(Date.now() / 1000);
    for (const time of $$("time[data-at]")) time.textContent = `${span(Math.max(0, now - time.dataset.at))} ago`;
    for (const time of $$("time[data-until]")) {
      const left = time.dataset.until - now;
      time.textContent = left > 0 ? `in ${span(left)}` : "lapsed";
    }
  }
  setInterval(() => {
    tell();
    if (isStale && !isBusy($("#main"))) look();
  }, 1000);

  // Keys.
  const rows = () => $$("a.row");
  function step(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
  }
  const actions = {
    j: () => step(1),
    k: () => step(-1),
    g: () => $("#grant button")?.focus(),
    m: () => {
      const shape = $("details.shape");
      if (!shape) return;
      shape.open = true;
      $("select, input", shape).focus();
    },
    r: () => $("#reason")?.focus(),
    u: () => $("a.back")?.click(),
    "/": () => $("input[type=search]")?.focus(),
    "?": () => $("#keys")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const here = event.target;
    if (here.matches?.("input, textarea, select")) {
      if (event.key === "Escape") {
        here.closest("details.shape")?.removeAttribute("open");
        here.blur();
      }
      return;
    }
    if ($("dialog[open]")) return;
    const place = /^[1-9]$/.test(event.key) && $$(".bar nav a")[event.key - 1];
    const act = place ? () => place.click() : actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  arm(document);
  tell();
  $(".bar nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
})();
