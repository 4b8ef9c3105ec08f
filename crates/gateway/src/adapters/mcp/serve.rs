//! Serves one client request: greetings here, lists filtered, everything that carries data through the pipeline.
//! A request is forwarded with its bytes as received; what was judged is what is sent.

use super::bridge;
use super::downstream::{
    Arrival, Bytes, Downstream, Endpoint, Instead, Listen, Refusal, locked, operation, refusal,
    unknown_method,
};
use super::link::{Answer, Ask, Call, Link, param_headers};
use super::upstream::{Era, MODERN, meta};
use super::{HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS};
use crate::facts::Scene;
use crate::pipeline::{self, Reading, Stop};
use crate::receipt::Failed;
use crate::wire::frame::{self, Extensions, Object, raw};
use crate::wire::record::Status;
use judge::filter::Release;
use judge::label::Labeled;
use judge::request::RawCall;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Methods that are answered without a call.
const IS_PLUMBING: [&str; 6] = [
    "initialize",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];

/// Rounds of questions one call may take.
const ROUNDS_MAX: usize = 10;
/// Calls of one client that wait for answers to a server's questions.
const PARKED_MAX: usize = 256;
/// How long such a call waits, in seconds.
const PARKED_SECONDS_MAX: u64 = 600;
/// How long questions that come together are collected, in milliseconds.
const TOGETHER_MS: u64 = 10;
/// The client's id for a tool use (Claude Code), which joins hook and proxy records.
pub(super) const CLIENT_CALL: &str = "claudecode/toolUseId";

/// A call whose server asked something, waiting for a modern client to come back with answers.
pub(crate) struct Parked {
    conversation: Dialogue,
    /// What the call was; the retry must be the same.
    same: String,
    since: Instant,
}

struct Dialogue {
    call: AbortOnDrop,
    asks: mpsc::Receiver<Ask>,
    waiting: HashMap<String, oneshot::Sender<Box<RawValue>>>,
    shown: HashMap<String, serde_json::Value>,
    next: usize,
}

struct AbortOnDrop(JoinHandle<Result<Release<Answer>, Stop>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A call ready to be judged and sent.
pub(super) struct Outgoing {
    link: Arc<Link>,
    method: String,
    params: Object,
    pub(super) name: ToolName,
    arguments: Tree,
    /// What goes along unjudged by policy: in the record and in the digest.
    beside: Tree,
    headers: Vec<(String, String)>,
}

impl Downstream {
    /// The result or error of one request.
    pub(super) async fn serve(
        self: &Arc<Self>,
        message: &Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let method = message.method();
        match self.dispatch(message, arrival).await {
            // Nobody decided on these, so nothing has searched them yet.
            Ok(result) if IS_PLUMBING.contains(&method.as_str()) => self.shown_result(&method, result),
            Ok(result) => Ok(result),
            Err(refusal) => Err(self.shown_refusal(refusal)),
        }
    }

    async fn dispatch(
        self: &Arc<Self>,
        message: &Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let method = message.method();
        let params = match message.get("params") {
            None => Object::default(),
            Some(params) => Object::inside(params).ok_or_else(|| {
                Refusal::new(INVALID_PARAMS, "`params` is no object, or a member stands twice in it")
            })?,
        };
        if self.era == Era::Modern {
            modern_envelope(&params)?;
        }
        match (method.as_str(), self.era) {
            ("initialize", Era::Legacy) => self.initialize(&params).await,
            ("ping", Era::Legacy) => Ok(raw(json!({}))),
            ("server/discover", Era::Modern) => self.discover().await,
            ("subscriptions/listen", Era::Modern) => self.listen(message, &params, arrival).await,
            (
                "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe",
                Era::Modern,
            )
            | ("server/discover" | "subscriptions/listen", Era::Legacy) => Err(unknown_method(&method)),
            ("tools/list" | "prompts/list" | "resources/list" | "resources/templates/list", _) => {
                self.list(&method, params).await
            }
            ("tools/call", _) => self.call_tool(params, arrival).await,
            ("logging/setLevel", Era::Legacy) => self.set_level(params, arrival).await,
            ("resources/subscribe" | "resources/unsubscribe", Era::Legacy) => {
                self.subscribe(&method, params, arrival).await
            }
            _ => {
                let (link, params) = self.home_of(&method, params).await?;
                self.forward(link, &method, params, arrival).await
            }
        }
    }

    /// Links to every server of this endpoint that can be reached; the others cost only themselves.
    pub(super) async fn reachable(self: &Arc<Self>) -> Vec<Arc<Link>> {
        let servers = self.servers();
        let opened = futures_util::future::join_all(servers.iter().map(|server| self.link(server))).await;
        let mut links = Vec::new();
        for (server, opened) in servers.iter().zip(opened) {
            match opened {
                Ok(link) => links.push(link),
                Err(error) => self.alert("server-unreachable", &format!("server `{server}`: {error}")),
            }
        }
        links
    }

    /// The server and own name behind a name of this endpoint.
    fn split<'a>(&self, name: &'a str) -> Result<(String, &'a str), Refusal> {
        match &self.endpoint {
            Endpoint::One(server) => Ok((server.clone(), name)),
            Endpoint::All => match name.split_once("__") {
                Some((server, own)) if self.gate.config.server.contains_key(server) => {
                    Ok((server.to_owned(), own))
                }
                _ => Err(Refusal::new(
                    INVALID_PARAMS,
                    format!("`{name}` is not named SERVER__NAME after a configured server"),
                )),
            },
        }
    }

    async fn call_tool(self: &Arc<Self>, params: Object, arrival: Arrival) -> Result<Box<RawValue>, Refusal> {
        if let Some(own) = self.own_called(&params) {
            return self.call_own(own, &params, arrival).await;
        }
        let ran = match self.outgoing(params, &arrival).await {
            Ok(outgoing) => self.run(outgoing, arrival).await,
            Err(Instead::Told(why)) => return Ok(self.told(&why)),
            Err(Instead::Refused(refusal)) => return Err(refusal),
        };
        match ran {
            Err(refusal) if refusal.code == super::DENIED => Ok(self.told(&refusal.message)),
            other => other,
        }
    }

    /// The call of a reviewed tool, ready to be judged and sent.
    pub(super) async fn outgoing(
        self: &Arc<Self>,
        mut params: Object,
        arrival: &Arrival,
    ) -> Result<Outgoing, Instead> {
        let wrong = |why: &str| Refusal::new(INVALID_PARAMS, why);
        let name = params.text("name").ok_or_else(|| wrong("`name` is missing"))?;
        let (server, tool) = self.split(&name)?;
        let arguments = match params.get("arguments") {
            None => Tree::Null,
            Some(arguments) => Tree::parse(arguments.get().as_bytes()).map_err(|error| {
                self.alert("unreadable-arguments", &format!("{server}/{tool}: {error}"));
                wrong(&format!("`arguments`: {error}"))
            })?,
        };
        let name = ToolName { server: server.clone(), tool: tool.to_owned() };
        // A tool that is not the reviewed one is unknown here, whatever the server offers.
        let reviewed = self.gate.rules().inventory.tool(&name).map(|tool| tool.digest.clone());
        let Some(digest) = reviewed else { return Err(self.unreviewed(name, arguments).await.into()) };
        let link = self.link(&server).await?;
        let Some(listed) = link.listed(tool).await? else {
            let why = format!("server `{server}` offers no tool `{tool}` now");
            self.stop(name, arguments, &why).await;
            return Err(wrong(&why).into());
        };
        if listed.digest != digest {
            let why = format!(
                "`{name}` is not the tool that was reviewed: its definition changed; an operator can accept it with `bailiwick inventory review`"
            );
            self.stop(name, arguments, &why).await;
            return Err(Instead::Told(why));
        }
        let headers = param_headers(&listed, &arguments);
        if let Some(given) = &arrival.param_headers {
            agree(given, &headers)?;
        }
        params.set("name", raw(tool));
        let beside = beside(&params, &["name", "arguments"], &arrival.envelope)?;
        Ok(Outgoing { link, method: "tools/call".to_owned(), params, name, arguments, beside, headers })
    }

    /// Records the denial of a call that never came to a decision.
    async fn stop(&self, name: ToolName, arguments: Tree, why: &str) {
        let scene = Scene::default();
        drop(
            pipeline::deny(&self.gate, &self.session, self.session.call(name, arguments), &scene, why).await,
        );
    }

    /// Denies a tool that nobody reviewed, through the same path as every denial.
    async fn unreviewed(&self, name: ToolName, arguments: Tree) -> Refusal {
        let scene = Scene::default();
        let denied = pipeline::call(
            &self.gate,
            &self.session,
            self.session.call(name, arguments),
            &scene,
            |permit| async {
                drop(permit);
                Err::<Labeled<Bytes>, _>(Failed::new(Status::Failed, "an unreviewed tool was permitted"))
            },
        );
        match denied.await {
            Ok(_) => Refusal::new(INTERNAL_ERROR, "an unreviewed tool was permitted"),
            Err(Stop::Denied(denied)) => {
                Refusal::new(INVALID_PARAMS, format!("{} (record {})", denied.why, denied.call))
            }
            Err(stop @ (Stop::Failed(_) | Stop::Deferred(_))) => refusal(&stop),
        }
    }

    /// A tool result that tells the model why nothing happened.
    pub(super) fn told(&self, why: &str) -> Box<RawValue> {
        let mut result = json!({ "content": [{ "type": "text", "text": why }], "isError": true });
        if self.era == Era::Modern {
            result["resultType"] = json!("complete");
        }
        raw(result)
    }

    /// A protocol method that carries data, sent to its server if policy permits it.
    async fn forward(
        self: &Arc<Self>,
        link: Arc<Link>,
        method: &str,
        params: Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let mut judged = params.clone();
        for name in ["inputResponses", "requestState"] {
            judged.remove(name);
        }
        let (name, arguments) = operation(&link.server, method, Some(&judged.to_raw()))?;
        let members: Vec<&str> = judged.members().map(|(name, _)| name).collect();
        let beside = beside(&params, &members, &arrival.envelope)?;
        let outgoing = Outgoing {
            link,
            method: method.to_owned(),
            beside,
            params,
            name,
            arguments,
            headers: Vec::new(),
        };
        self.run(outgoing, arrival).await
    }

    /// Runs one call to its result, or to the questions its server has for a modern client.
    async fn run(
        self: &Arc<Self>,
        mut outgoing: Outgoing,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let same = format!("{} {} {}", outgoing.method, outgoing.name, outgoing.arguments.canonical());
        let parks_here = outgoing.link.era() == Era::Legacy
            || outgoing
                .params
                .text("requestState")
                .is_some_and(|handle| locked(&self.parked).contains_key(&handle));
        if self.era == Era::Modern && parks_here {
            let responses = outgoing.params.remove("inputResponses");
            if let Some(state) = outgoing.params.remove("requestState") {
                let handle: String = serde_json::from_str(state.get()).unwrap_or_default();
                return self.resume(&handle, same, responses, &outgoing.link).await;
            }
        }
        let about = outgoing.params.object("_meta").unwrap_or_default();
        let (asks_to, asks) = mpsc::channel(8);
        let call = Call {
            lane: arrival.lane,
            progress: about.get("progressToken").map(RawValue::to_owned),
            log_level: about.text(meta::LOG_LEVEL).filter(|level| bridge::log_rank(level).is_some()),
            asks: (self.era == Era::Modern).then_some(asks_to),
            extensions: arrival.envelope,
        };
        let scene =
            Scene { cwd: None, client_call: about.text(CLIENT_CALL).unwrap_or_default(), ..Scene::default() };
        if let Some(conversation) = self.gate.conversations.expected(&scene.client_call) {
            self.session.join(conversation);
        }
        let link = outgoing.link.clone();
        let released = match self.era {
            Era::Legacy => self.clone().judged(outgoing, call, scene, Reading::Agent).await,
            Era::Modern => {
                let call = tokio::spawn(self.clone().judged(outgoing, call, scene, Reading::Agent));
                let conversation = Dialogue {
                    call: AbortOnDrop(call),
                    asks,
                    waiting: HashMap::new(),
                    shown: HashMap::new(),
                    next: 1,
                };
                match self.converse(conversation, same).await {
                    Ok(released) => released,
                    Err(questions) => return questions,
                }
            }
        };
        let answered = released.as_ref().map(|released| released.value.extensions.clone());
        locked(&arrival.extensions).extend(answered.unwrap_or_default());
        self.answered_by(&link, released)
    }

    /// The whole story of one call, rounds of questions included.
    pub(super) async fn judged(
        self: Arc<Self>,
        outgoing: Outgoing,
        call: Call,
        scene: Scene,
        reading: Reading,
    ) -> Result<Release<Answer>, Stop> {
        let Outgoing { link, method, mut params, name, arguments, beside, headers } = outgoing;
        let (tool, written) = (name.to_string(), arguments.canonical());
        let asked_over = call.clone();
        let raw_call = RawCall { beside, ..self.session.call(name, arguments) };
        let this = &self;
        let (gate, session) = (&self.gate, &self.session);
        let story = pipeline::call_for(gate, session, raw_call, &scene, reading, |permit| async move {
            this.set_log_level(&link, &mut params, call.log_level.as_deref()).await;
            let granted_by = permit.granted_by().map(str::to_owned);
            let request = permit.request().clone();
            let policy = permit.verdict().policy_digest().to_owned();
            let source = request.tool().name.clone();
            if let Some(arguments) = params.object("arguments").filter(|_| method == "tools/call") {
                let restored = this.gate.screen.restored(this.session.hidden(), &source, arguments);
                let restored = restored.map_err(|why| Failed::new(Status::Failed, why))?;
                params.set("arguments", restored.to_raw());
            }
            let answer = link.execute(permit, &method, params.clone(), &headers, call.clone()).await?;
            if link.era() == Era::Legacy {
                return Ok(answer);
            }
            let (mut answer, questions) = answer.peek(input_requests);
            let mut questions = questions?;
            for _ in 0..ROUNDS_MAX {
                let Some(asked) = questions else { return Ok(answer) };
                if reading == Reading::Reader {
                    return Err(Failed::new(Status::Failed, "its server asked something"));
                }
                let mut responses = Object::default();
                for (key, question) in asked.requests.members() {
                    let question = Object::inside(question).unwrap_or_default();
                    let kind = question.method();
                    let origin = (link.server.clone(), format!("{key} of {}", source));
                    if this.era == Era::Modern {
                        // The client will answer in its next call; that it may be asked is decided now.
                        this.may_ask(&link.server, &kind, question.get("params"))
                            .await
                            .map_err(|refusal| Failed::new(Status::Failed, refusal.message))?;
                        continue;
                    }
                    let put =
                        this.put(&link.server, &kind, question.get("params"), Some(call.clone()), origin);
                    let response =
                        put.await.map_err(|refusal| Failed::new(Status::Failed, refusal.message))?;
                    responses.set(key, response);
                }
                if this.era == Era::Modern {
                    if let Some(by) = granted_by {
                        // The same call comes back with answers: one approval covers it to its end.
                        let state = asked.state.as_deref().map(RawValue::get).unwrap_or_default();
                        let next = with_state(request.beside(), state);
                        let carried = this.gate.approvers.carry_over(&request, &next, &policy, &by);
                        carried.map_err(|error| Failed::new(Status::Failed, error.to_string()))?;
                    }
                    return Ok(answer);
                }
                if asked.requests.is_empty() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let mut again = params.clone().with("inputResponses", responses.to_raw());
                if let Some(state) = asked.state {
                    again.set("requestState", state);
                }
                let next = link.repeat(&source, &method, again, &headers, call.clone()).await?;
                let (next, asked) = next.peek(input_requests);
                (answer, questions) = (next, asked?);
            }
            Err(Failed::new(
                Status::Failed,
                format!("server `{}` asked more than {ROUNDS_MAX} times", link.server),
            ))
        });
        tokio::select! {
            biased;
            never = self.asks_here(&tool, &written, &asked_over) => match never {},
            released = story => released,
        }
    }

    /// Decides whether a question may be put to the client at all.
    async fn may_ask(&self, server: &str, method: &str, params: Option<&RawValue>) -> Result<(), Refusal> {
        self.can_be_asked(method)?;
        let (name, arguments) = operation(server, method, params)?;
        let source = name.clone();
        let scene = Scene::default();
        let asked = pipeline::call(
            &self.gate,
            &self.session,
            self.session.call(name, arguments),
            &scene,
            |permit| async {
                drop(permit);
                Ok(Labeled::new(Bytes(raw(json!({}))), source))
            },
        );
        asked.await.map(|_| ()).map_err(|stop| refusal(&stop))
    }

    /// Waits for the call's end or its server's questions, whichever comes first.
    async fn converse(
        self: &Arc<Self>,
        mut conversation: Dialogue,
        same: String,
    ) -> Result<Result<Release<Answer>, Stop>, Result<Box<RawValue>, Refusal>> {
        tokio::select! {
            biased;
            Some(ask) = conversation.asks.recv() => conversation.hear(ask),
            released = &mut conversation.call.0 => {
                return released.map_err(|_| Err(Refusal::new(INTERNAL_ERROR, "the call ended without an answer")));
            }
        }
        tokio::time::sleep(Duration::from_millis(TOGETHER_MS)).await;
        while let Ok(ask) = conversation.asks.try_recv() {
            conversation.hear(ask);
        }
        Err(self.park(conversation, same))
    }

    fn park(&self, conversation: Dialogue, same: String) -> Result<Box<RawValue>, Refusal> {
        let handle = crate::random::token();
        let result = json!({
            "resultType": "input_required", "inputRequests": conversation.shown, "requestState": handle,
        });
        let mut parked = locked(&self.parked);
        parked.retain(|_, call| call.since.elapsed() < Duration::from_secs(PARKED_SECONDS_MAX));
        if parked.len() >= PARKED_MAX {
            return Err(Refusal::new(INTERNAL_ERROR, format!("{PARKED_MAX} calls wait for answers already")));
        }
        parked.insert(handle, Parked { conversation, same, since: Instant::now() });
        Ok(raw(result))
    }

    /// Goes on with a parked call, with the client's answers.
    async fn resume(
        self: &Arc<Self>,
        handle: &str,
        same: String,
        responses: Option<Box<RawValue>>,
        link: &Link,
    ) -> Result<Box<RawValue>, Refusal> {
        let parked = locked(&self.parked)
            .remove(handle)
            .filter(|parked| parked.since.elapsed() < Duration::from_secs(PARKED_SECONDS_MAX));
        let Some(Parked { mut conversation, same: expected, since: _ }) = parked else {
            return Err(Refusal::new(
                INVALID_PARAMS,
                "`requestState` is not one this gate gave out, or it has lapsed; call again without it",
            ));
        };
        if expected != same {
            return Err(Refusal::new(
                INVALID_PARAMS,
                "`requestState` belongs to another call; call again without it",
            ));
        }
        let responses = responses.and_then(|raw| Object::inside(&raw)).unwrap_or_default();
        conversation.answer(&responses);
        if !conversation.waiting.is_empty() {
            return self.park(conversation, same);
        }
        match self.converse(conversation, same).await {
            Ok(released) => self.answered_by(link, released),
            Err(questions) => questions,
        }
    }

    fn answered_by(
        &self,
        link: &Link,
        released: Result<Release<Answer>, Stop>,
    ) -> Result<Box<RawValue>, Refusal> {
        let answer = released.map_err(|stop| refusal(&stop))?.value;
        let body = Object::inside(&answer.body);
        match (answer.is_error, body) {
            (true, Some(error)) => {
                let error = bridge::error(error, link.era(), self.era);
                Err(Refusal::passed_on(&error))
            }
            (false, Some(result)) if self.era != link.era() => {
                let cached = result.get("contents").is_some();
                Ok(bridge::result(result, link.upstream.greeting(), self.era, cached).to_raw())
            }
            _ => Ok(answer.body),
        }
    }

    /// The link a method's subject lives behind, and its parameters with the subject's own name.
    async fn home_of(
        self: &Arc<Self>,
        method: &str,
        mut params: Object,
    ) -> Result<(Arc<Link>, Object), Refusal> {
        let server = match (&self.endpoint, method) {
            (Endpoint::One(server), _) => server.clone(),
            (Endpoint::All, "prompts/get") => {
                let name =
                    params.text("name").ok_or_else(|| Refusal::new(INVALID_PARAMS, "`name` is missing"))?;
                let (server, own) = self.split(&name)?;
                params.set("name", raw(own));
                server
            }
            (Endpoint::All, "completion/complete") => {
                let mut reference = params.object("ref").unwrap_or_default();
                match reference.text("name") {
                    Some(name) => {
                        let (server, own) = self.split(&name)?;
                        reference.set("name", raw(own));
                        params.set("ref", reference.to_raw());
                        server
                    }
                    None => self.home_of_resource(&reference.text("uri").unwrap_or_default()).await?,
                }
            }
            (Endpoint::All, _) => match params.text("uri") {
                Some(uri) => self.home_of_resource(&uri).await?,
                None => return Err(unknown_method(method)),
            },
        };
        Ok((self.link(&server).await?, params))
    }

    async fn home_of_resource(self: &Arc<Self>, uri: &str) -> Result<String, Refusal> {
        if let Some(server) = locked(&self.resource_homes).get(uri).filter(|server| !server.is_empty()) {
            return Ok(server.clone());
        }
        let mut offering = Vec::new();
        for link in self.reachable().await {
            if link.has("/resources") {
                offering.push(link.server.clone());
            }
        }
        match offering.as_slice() {
            [only] if !locked(&self.resource_homes).contains_key(uri) => Ok(only.clone()),
            _ => Err(Refusal {
                code: INVALID_PARAMS,
                message: "no server is known to offer this resource; list the resources first".to_owned(),
                data: Some(json!({ "uri": uri })),
                object: None,
            }),
        }
    }

    async fn set_level(self: &Arc<Self>, params: Object, arrival: Arrival) -> Result<Box<RawValue>, Refusal> {
        *locked(&self.log_level) = params.text("level");
        for link in self.reachable().await {
            if link.era() == Era::Legacy && link.has("/logging") {
                let lane = arrival.lane.clone();
                self.forward(link, "logging/setLevel", params.clone(), Arrival::on(lane)).await?;
            }
        }
        Ok(raw(json!({})))
    }

    /// Brings the wanted log level to the server in its own era's way.
    async fn set_log_level(&self, link: &Link, params: &mut Object, wanted: Option<&str>) {
        match (self.era, link.era(), wanted) {
            (Era::Legacy, Era::Modern, _) => {
                if let Some(level) = locked(&self.log_level).clone() {
                    let about = params.object("_meta").unwrap_or_default().with(meta::LOG_LEVEL, raw(level));
                    params.set("_meta", about.to_raw());
                }
            }
            (Era::Modern, Era::Legacy, Some(level)) if link.has("/logging") => {
                let changed = locked(&self.log_level).replace(level.to_owned()).as_deref() != Some(level);
                if changed {
                    let params = Object::default().with("level", raw(level));
                    drop(link.plumb("logging/setLevel", Some(params)).await);
                }
            }
            _ => {}
        }
    }

    async fn subscribe(
        self: &Arc<Self>,
        method: &str,
        params: Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let (link, params) = self.home_of(method, params).await?;
        if link.era() == Era::Legacy {
            return self.forward(link, method, params, arrival).await;
        }
        if method == "resources/subscribe" {
            let uri = params.text("uri").ok_or_else(|| Refusal::new(INVALID_PARAMS, "`uri` is missing"))?;
            self.may_ask(&link.server, method, Some(&params.to_raw())).await?;
            let held = self.hold(&link, json!({ "resourceSubscriptions": [uri] }));
            let mut subscribed = locked(&self.subscribed);
            if subscribed.len() >= super::downstream::LISTENS_MAX {
                return Err(Refusal::new(INTERNAL_ERROR, "too many subscriptions are open"));
            }
            subscribed.insert(uri, held);
        } else if let Some(uri) = params.text("uri") {
            locked(&self.subscribed).remove(&uri);
        }
        Ok(raw(json!({})))
    }

    async fn listen(
        self: &Arc<Self>,
        message: &Object,
        params: &Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let id = message.get("id").map(RawValue::to_owned).unwrap_or_else(|| raw(0));
        let wanted: serde_json::Value = params
            .get("notifications")
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let links = self.reachable().await;
        let mut filter = serde_json::Map::new();
        for (capability, name) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if wanted[name] == true
                && links.iter().any(|link| link.has(&format!("/{capability}/listChanged")))
            {
                filter.insert(name.to_owned(), json!(true));
            }
        }
        let mut uris = Vec::new();
        let mut held = Vec::new();
        for uri in wanted["resourceSubscriptions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|uri| uri.as_str())
            .take(super::downstream::LISTENS_MAX)
        {
            let one = Object::default().with("uri", raw(uri));
            let Ok((link, one)) = self.home_of("resources/read", one).await else { continue };
            if !link.has("/resources/subscribe") {
                continue;
            }
            let accepted = match link.era() {
                Era::Modern => {
                    let may =
                        self.may_ask(&link.server, "resources/subscribe", Some(&one.to_raw())).await.is_ok();
                    if may {
                        held.push(self.hold(&link, json!({ "resourceSubscriptions": [uri] })));
                    }
                    may
                }
                Era::Legacy => {
                    let lane = arrival.lane.clone();
                    let arrival = Arrival::on(lane);
                    self.forward(link, "resources/subscribe", one, arrival).await.is_ok()
                }
            };
            if accepted {
                uris.push(json!(uri));
            }
        }
        if !uris.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), json!(uris));
        }
        let filter = serde_json::Value::Object(filter);
        let _registered =
            self.register(Listen { id: id.clone(), filter: filter.clone(), lane: arrival.lane.clone() })?;
        let about = Object::default().with(meta::SUBSCRIPTION, id.clone());
        let ack = Object::default().with("_meta", about.to_raw()).with("notifications", raw(filter));
        arrival
            .lane
            .send(frame::notification("notifications/subscriptions/acknowledged", Some(ack.to_raw())))
            .await;
        self.ended.cancelled().await;
        drop(held);
        Ok(Object::default().with("resultType", raw("complete")).with("_meta", about.to_raw()).to_raw())
    }

    fn register(self: &Arc<Self>, listen: Listen) -> Result<Registered, Refusal> {
        let key = crate::random::name("l");
        let mut listens = locked(&self.listens);
        if listens.len() >= super::downstream::LISTENS_MAX {
            return Err(Refusal::new(INTERNAL_ERROR, "too many subscriptions are open"));
        }
        listens.insert(key.clone(), listen);
        Ok(Registered { downstream: self.clone(), key })
    }
}

/// A subscription that ends with its request.
struct Registered {
    downstream: Arc<Downstream>,
    key: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        locked(&self.downstream.listens).remove(&self.key);
    }
}

impl Dialogue {
    fn hear(&mut self, ask: Ask) {
        let key = format!("q{}", self.next);
        self.next += 1;
        self.shown.insert(key.clone(), ask.request);
        self.waiting.insert(key, ask.answer);
    }

    fn answer(&mut self, responses: &Object) {
        for (key, response) in responses.members() {
            // A response that is no object answers nothing; it is asked again.
            if response.get().starts_with('{')
                && let Some(waiting) = self.waiting.remove(key)
            {
                self.shown.remove(key);
                drop(waiting.send(response.to_owned()));
            }
        }
    }
}

struct Questions {
    requests: Object,
    state: Option<Box<RawValue>>,
}

/// The questions of a result that asks for input. Questions that cannot be read are questions all the same.
fn input_requests(answer: &Answer) -> Result<Option<Questions>, Failed> {
    let Some(result) = Object::inside(&answer.body).filter(|_| !answer.is_error) else { return Ok(None) };
    if result.text("resultType").as_deref() != Some("input_required") {
        return Ok(None);
    }
    let unreadable =
        || Failed::new(Status::Failed, "the server asked something that cannot be read in one way");
    let requests = match result.get("inputRequests") {
        None => Object::default(),
        Some(requests) => Object::inside(requests).ok_or_else(unreadable)?,
    };
    let readable = requests
        .members()
        .all(|(_, one)| Object::inside(one).is_some_and(|one| one.text("method").is_some()));
    if !readable {
        return Err(unreadable());
    }
    Ok(Some(Questions { requests, state: result.get("requestState").map(RawValue::to_owned) }))
}

/// What a client sends beside the members that are judged: unknown ones, vendor `_meta`, and the state of an earlier
/// round. `inputResponses` are the user's own answers and may differ from round to round.
pub(super) fn beside(params: &Object, judged: &[&str], envelope: &Extensions) -> Result<Tree, Refusal> {
    let unusable = |error: judge::request::tree::TreeError| Refusal::new(INVALID_PARAMS, error.to_string());
    let mut members = Vec::new();
    for (name, value) in params.members() {
        if judged.contains(&name) || name == "inputResponses" || name == "_meta" {
            continue;
        }
        members.push((name.to_owned(), Tree::parse(value.get().as_bytes()).map_err(unusable)?));
    }
    for (name, value) in params.object("_meta").unwrap_or_default().members() {
        let own = name.starts_with("io.modelcontextprotocol/")
            || [CLIENT_CALL, "progressToken", "traceparent", "tracestate", "baggage"].contains(&name);
        if !own {
            members.push((format!("_meta.{name}"), Tree::parse(value.get().as_bytes()).map_err(unusable)?));
        }
    }
    for (name, value) in envelope {
        members.push((format!("envelope.{name}"), Tree::parse(value.get().as_bytes()).map_err(unusable)?));
    }
    Ok(if members.is_empty() { Tree::Null } else { Tree::Map(members) })
}

/// The same with the state that a server gave out for the next round.
fn with_state(beside: &Tree, state: &str) -> Tree {
    let mut members = match beside {
        Tree::Map(members) => members.clone(),
        _ => Vec::new(),
    };
    members.retain(|(name, _)| name != "requestState");
    if let Ok(state) = Tree::parse(state.as_bytes()) {
        members.push(("requestState".to_owned(), state));
    }
    Tree::Map(members)
}

/// A modern request says which version it speaks and what its client can do (MCP 2026-07-28, lifecycle).
fn modern_envelope(params: &Object) -> Result<(), Refusal> {
    let missing = |name: &str| Refusal::new(INVALID_PARAMS, format!("`_meta` lacks `{name}`"));
    let about =
        params.object("_meta").ok_or_else(|| Refusal::new(INVALID_PARAMS, "`params._meta` is missing"))?;
    let version = about.text(meta::VERSION).ok_or_else(|| missing(meta::VERSION))?;
    about.object(meta::CAPABILITIES).ok_or_else(|| missing(meta::CAPABILITIES))?;
    if version == MODERN { Ok(()) } else { Err(super::downstream::unsupported_version(&version)) }
}

/// Headers that a load balancer may have routed by must say what the judged body says.
fn agree(given: &[(String, String)], expected: &[(String, String)]) -> Result<(), Refusal> {
    let same =
        |a: &str, b: &str| a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
    for (name, value) in expected {
        match given.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)) {
            Some((_, found)) if same(found, value) => {}
            _ => {
                return Err(Refusal::new(
                    HEADER_MISMATCH,
                    format!("header `Mcp-Param-{name}` does not say what the body says"),
                ));
            }
        }
    }
    Ok(())
}
