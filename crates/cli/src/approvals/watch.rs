//! The questions that wait, on a full screen that works over ssh, answered key by key. It asks the gate what changed and waits;
//! no key grants by accident: what is high impact wants the word typed out.

use super::{operator, show};
use crate::relay::ask;
use crate::terminal;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, execute, queue, style, terminal as screen};
use gateway::config::Place;
use gateway::wire::approval::Approval;
use gateway::wire::control::{Control, Waiting};
use std::collections::HashSet;
use std::io::{IsTerminal, Stdout, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How often keys are looked for beside what changes.
const BEAT: Duration = Duration::from_millis(50);
/// How long to wait before asking a gate again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(place: &Place) -> anyhow::Result<()> {
    let (news, changes) = mpsc::channel();
    let there = place.clone();
    // Ends with the program: nothing it holds outlives an answer.
    std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            let found = ask(&there, Control::Wait { seen })
                .and_then(|found| Ok(serde_json::from_value::<Waiting>(found)?));
            seen = found.as_ref().map_or(0, |waiting| waiting.seen);
            let is_lost = found.is_err();
            if news.send(found).is_err() {
                return;
            }
            if is_lost {
                std::thread::sleep(PAUSE);
            }
        }
    });
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        Screen::begin()?.run(place, &changes)
    } else {
        print(&changes)
    }
}

/// Without a terminal: each question once, as text.
fn print(changes: &Receiver<anyhow::Result<Waiting>>) -> anyhow::Result<()> {
    terminal::say("Waiting for questions.");
    let mut seen = HashSet::new();
    loop {
        for approval in pending(changes.recv()??) {
            if seen.insert(approval.id.clone()) {
                show::whole(&approval);
            }
        }
    }
}

/// What waits, the oldest first.
fn pending(waiting: Waiting) -> Vec<Approval> {
    waiting.approvals.into_iter().rev().filter(|approval| approval.state == "pending").collect()
}

/// What is being typed, and what for.
enum Typing {
    Reason(String),
    Somebody(String),
    Word(String),
}

struct Screen {
    out: Stdout,
    approvals: Vec<Approval>,
    at: usize,
    scroll: usize,
    typing: Option<Typing>,
    note: String,
}

impl Screen {
    fn begin() -> anyhow::Result<Self> {
        screen::enable_raw_mode()?;
        let mut out = std::io::stdout();
        execute!(out, screen::EnterAlternateScreen, cursor::Hide)?;
        Ok(Self { out, approvals: Vec::new(), at: 0, scroll: 0, typing: None, note: String::new() })
    }

    fn run(mut self, place: &Place, changes: &Receiver<anyhow::Result<Waiting>>) -> anyhow::Result<()> {
        self.draw()?;
        loop {
            let mut is_new = false;
            while let Ok(found) = changes.try_recv() {
                match found {
                    Ok(waiting) => self.take(pending(waiting)),
                    Err(error) => self.note = error.to_string(),
                }
                is_new = true;
            }
            if crossterm::event::poll(BEAT)? {
                let event = crossterm::event::read()?;
                if let Event::Key(key) = event
                    && key.kind != KeyEventKind::Release
                    && !self.key(place, key)
                {
                    return Ok(());
                }
                is_new = true;
            }
            if is_new {
                self.draw()?;
            }
        }
    }

    /// Takes in what waits now; what is being looked at stays in view.
    fn take(&mut self, approvals: Vec<Approval>) {
        let looked_at = self.approvals.get(self.at).map(|approval| approval.id.clone());
        let found = approvals.iter().position(|approval| Some(&approval.id) == looked_at.as_ref());
        if found.is_none() {
            // What was typed was about a question that is gone.
            self.typing = None;
            self.scroll = 0;
        }
        self.at = found.unwrap_or(self.at).min(approvals.len().saturating_sub(1));
        self.approvals = approvals;
    }

    /// Whether to go on after `key`.
    fn key(&mut self, place: &Place, key: KeyEvent) -> bool {
        self.note.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return false;
        }
        if let Some(typing) = self.typing.take() {
            self.typed(place, typing, key.code);
            return true;
        }
        let Some(approval) = self.approvals.get(self.at) else { return key.code != KeyCode::Char('q') };
        let weighs =
            approval.shown.impact == "high" || approval.shown.concerns.iter().any(|it| it.weight == "danger");
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('j') | KeyCode::Down => self.go((self.at + 1).min(self.approvals.len() - 1)),
            KeyCode::Char('k') | KeyCode::Up => self.go(self.at.saturating_sub(1)),
            KeyCode::Char(' ') | KeyCode::PageDown => self.scroll += 10,
            KeyCode::Char('b') | KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Char('g') if weighs => self.typing = Some(Typing::Word(String::new())),
            KeyCode::Char('g') => self.grant(place),
            KeyCode::Char('r') => self.typing = Some(Typing::Reason(String::new())),
            KeyCode::Char('l') => self.typing = Some(Typing::Somebody(String::new())),
            _ => {}
        }
        true
    }

    fn go(&mut self, to: usize) {
        self.at = to;
        self.scroll = 0;
    }

    fn typed(&mut self, place: &Place, mut typing: Typing, key: KeyCode) {
        let text = match &mut typing {
            Typing::Reason(text) | Typing::Somebody(text) | Typing::Word(text) => text,
        };
        match key {
            KeyCode::Esc => return,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) => text.push(c),
            KeyCode::Enter => {
                let Some(id) = self.approvals.get(self.at).map(|approval| approval.id.clone()) else {
                    return;
                };
                let by = operator();
                match typing {
                    Typing::Reason(reason) => self.say(place, Control::Refuse { id, by, reason }),
                    Typing::Somebody(to) if to.is_empty() => {}
                    Typing::Somebody(to) => self.say(place, Control::Leave { id, by, to }),
                    Typing::Word(word) if word == "grant" => self.grant(place),
                    Typing::Word(_) => "nothing was granted: the word is `grant`".clone_into(&mut self.note),
                }
                return;
            }
            _ => {}
        }
        self.typing = Some(typing);
    }

    fn grant(&mut self, place: &Place) {
        if let Some(approval) = self.approvals.get(self.at) {
            let id = approval.id.clone();
            self.say(place, Control::Grant { id, by: operator(), more: None });
        }
    }

    fn say(&mut self, place: &Place, control: Control) {
        self.note = match ask(place, control).and_then(|found| Ok(serde_json::from_value::<Approval>(found)?))
        {
            Ok(approval) => format!("{} {}: {}", approval.id, approval.state, approval.tool),
            Err(error) => error.to_string(),
        };
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let (width, height) = screen::size()?;
        let (width, height) = (usize::from(width.max(20)), usize::from(height.max(8)));
        let rows = (height / 3).clamp(2, self.approvals.len().max(2));
        let first = self.at.saturating_sub(rows - 1);
        let mut lines = vec![format!("Bailiwick · {} waiting", self.approvals.len())];
        let looked_at = self.approvals.get(self.at);
        for (index, approval) in self.approvals.iter().enumerate().skip(first).take(rows) {
            let mark = if index == self.at { "▸" } else { " " };
            let concern = approval.shown.concerns.first().map_or("", |first| first.text.as_str());
            lines.push(terminal::safe(&format!("{mark} {}  {}  {concern}", approval.id, approval.tool)));
        }
        lines.push("─".repeat(width));
        let detail = looked_at.map(show::lines).unwrap_or_else(|| vec!["Nothing waits.".to_owned()]);
        let room = height.saturating_sub(lines.len() + 2);
        self.scroll = self.scroll.min(detail.len().saturating_sub(room));
        let below = detail.len().saturating_sub(self.scroll + room);
        lines.extend(detail.into_iter().skip(self.scroll).take(room));
        queue!(self.out, cursor::MoveTo(0, 0), screen::Clear(screen::ClearType::All))?;
        for (row, line) in lines.iter().enumerate() {
            queue!(self.out, cursor::MoveTo(0, row as u16), style::Print(cut(line, width)))?;
        }
        let keys = match &self.typing {
            Some(Typing::Reason(text)) => {
                format!("what the agent is told (enter refuses, esc goes back): {text}")
            }
            Some(Typing::Somebody(text)) => format!("who shall answer (esc goes back): {text}"),
            Some(Typing::Word(text)) => format!("it is costly; type `grant` (esc goes back): {text}"),
            None if !self.note.is_empty() => self.note.clone(),
            None if below > 0 => {
                format!("g grant once · r refuse · l leave to · j k next · space {below} lines more · q quit")
            }
            None => "g grant once · r refuse · l leave to · j k next · q quit".to_owned(),
        };
        queue!(
            self.out,
            cursor::MoveTo(0, (height - 1) as u16),
            style::Print(cut(&terminal::safe(&keys), width))
        )?;
        Ok(self.out.flush()?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(execute!(self.out, cursor::Show, screen::LeaveAlternateScreen));
        drop(screen::disable_raw_mode());
    }
}

/// At most `width` characters of `line`, its colours not counted and closed again.
fn cut(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut count, mut is_colour) = (0, false);
    for c in line.chars() {
        is_colour |= c == '\x1b';
        if !is_colour {
            count += 1;
            if count > width {
                out.push_str("\x1b[0m");
                break;
            }
        } else if c == 'm' {
            is_colour = false;
        }
        out.push(c);
    }
    out
}
