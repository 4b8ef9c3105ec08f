//! The `bailiwick` binary: reads the command line, puts the parts together, prints.
//! It decides nothing; every decision is the gateway's and the judge's.

mod approvals;
mod client;
mod console;
mod decide;
mod demo;
mod doctor;
mod init;
mod inventory;
mod journal;
mod login;
mod phase;
mod plugin;
mod policy;
mod proxy;
mod quarantine;
mod redact;
mod redteam;
mod relay;
mod run;
mod sandbox;
mod scan;
mod secret;
mod serve;
mod terminal;
mod uninstall;

use clap::{Parser, Subcommand};
use gateway::config::Place;
use std::path::PathBuf;
use std::process::ExitCode;

/// The gate between an AI agent and everything it can touch.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Line {
    /// The configuration folder [default: the nearest `.bailiwick` from here upwards]
    #[arg(long, global = true, env = "BAILIWICK_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The private folder for journal, state and socket [default: under the user's data folder]
    #[arg(long, global = true, env = "BAILIWICK_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the MCP servers of this project, review their tools, write `.bailiwick/`
    Init(init::Args),
    /// Put back every file that `init` changed, and take away what it made
    Uninstall(uninstall::Args),
    /// Run an agent behind the wall, every way out the gate
    Run(run::Args),
    /// Run the gate
    Serve(serve::Args),
    /// Speak MCP on standard input and output, through the running gate
    Mcp {
        /// One server, its names unchanged [default: all, named SERVER__TOOL]
        server: Option<String>,
        /// The conversation it belongs to, where `bailiwick said` tells what the user says in it
        #[arg(long, value_name = "NAME")]
        conversation: Option<String>,
        /// Start a gate where none runs; it ends some seconds after its last client
        #[arg(long)]
        start: bool,
        /// A file with a grant token for this client's calls, repeatable
        #[arg(long, value_name = "FILE")]
        grant: Vec<PathBuf>,
    },
    /// Tell the gate what the user said in a conversation: the message on standard input
    Said {
        /// The conversation's name, as `bailiwick mcp --conversation` or the header `Bailiwick-Conversation` has it
        conversation: String,
        /// What the task may touch, as SERVER/TOOL, repeatable; narrows what was said before [default: no change]
        #[arg(long = "scope", value_name = "SERVER/TOOL")]
        scope: Vec<String>,
    },
    /// Answer one Claude Code hook event, or print what installs the hook
    Hook {
        #[command(subcommand)]
        action: Option<relay::HookAction>,
        /// The settings that run this also ask about every tool, so that the client can be told to defer a call
        #[arg(long)]
        defers: bool,
    },
    /// Run a command behind the wall, in any folder
    Sandbox(Box<sandbox::Args>),
    /// Decide on one call as the gate would, without recording or running it
    Decide(decide::Args),
    /// Attack this project's own configuration with a fully steered agent; nothing runs
    Redteam(redteam::Args),
    /// Copy standard input to standard output without what is secret or personal
    Redact(redact::Args),
    /// Ask a reader without tools about standard input, and get only an answer that fits a schema
    Quarantine(quarantine::Args),
    /// Look for secrets in what was written down
    Scan {
        #[command(subcommand)]
        action: scan::Action,
    },
    /// Keep secrets that no agent ever sees
    Secret {
        #[command(subcommand)]
        action: secret::Action,
    },
    /// Sign in to a remote server that wants OAuth
    Login(login::Args),
    /// Forget a sign-in, and have its tokens revoked
    Logout {
        /// The server, as bailiwick.toml names it
        server: String,
    },
    /// Answer what waits for a person
    Approvals {
        #[command(subcommand)]
        action: approvals::Action,
    },
    /// Say what agents may do now, and change it
    Phase {
        #[command(subcommand)]
        action: phase::Action,
    },
    /// Let people into the web console, and turn them out
    Console {
        #[command(subcommand)]
        action: console::Action,
    },
    /// Show and review what the servers offer
    Inventory {
        #[command(subcommand)]
        action: inventory::Action,
    },
    /// Check policies and their cases
    Policy {
        #[command(subcommand)]
        action: policy::Action,
    },
    /// Print the variables with which a program of this host leaves through the running gate's proxy
    Proxy {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read and verify what happened
    Journal {
        #[command(subcommand)]
        action: journal::Action,
    },
    /// Put the gate in front of a small support desk and let a fully steered agent loose on it
    Demo(demo::Args),
    /// Say what works here and what does not
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a permitted shell command of Claude Code behind the wall
    #[command(hide = true)]
    Shell {
        /// The call's name in the journal
        call: String,
    },
    /// Confine one program for a gate
    #[command(hide = true)]
    Warden,
    /// One of the demo's servers
    #[command(hide = true)]
    DemoServer {
        /// crm, billing or mail
        server: String,
        /// The desk's database
        #[arg(long)]
        db: PathBuf,
    },
}

/// How a command ends when nothing went wrong by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done.
    Done,
    /// The thing asked about does not hold.
    DoesNotHold,
    /// What was run ended with this status, which is this program's as well.
    Ended(u8),
}

/// Something that cannot be enforced or started on this host.
#[derive(Debug)]
struct NotEnforceable(String);

impl std::fmt::Display for NotEnforceable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}
impl std::error::Error for NotEnforceable {}

fn main() -> ExitCode {
    // What the gate writes is its user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // A hook whose command line is wrong must still not let a call run.
            if std::env::args().any(|argument| argument == "hook") && error.use_stderr() {
                relay::hook_misused();
            }
            error.exit();
        }
    };
    match run(line) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::DoesNotHold) => ExitCode::from(1),
        Ok(Outcome::Ended(status)) => ExitCode::from(status),
        Err(error) => {
            terminal::complain(&format!("bailiwick: {error:#}"));
            ExitCode::from(if error.is::<NotEnforceable>() { 3 } else { 2 })
        }
    }
}

fn run(line: Line) -> anyhow::Result<Outcome> {
    let place = || Ok::<_, anyhow::Error>(Place::find(line.dir.as_deref(), line.state.as_deref())?);
    match line.command {
        Command::Init(args) => init::run(line.dir.as_deref(), line.state.as_deref(), args),
        Command::Uninstall(args) => uninstall::run(line.dir.as_deref(), line.state.as_deref(), &args),
        Command::Run(args) => run::run(place()?, args),
        Command::Serve(args) => serve::run(place()?, args),
        Command::Mcp { server, conversation, start, grant } => {
            for token in &grant {
                approvals::token::taken_in(&place()?, token)?;
            }
            let way = relay::Way::find(line.dir.as_deref(), line.state.as_deref())?;
            if let (true, relay::Way::Place(place)) = (start, &way) {
                run::gate(place)?;
            }
            relay::mcp(&way, server, conversation)
        }
        Command::Said { conversation, scope } => relay::said(&place()?, conversation, scope),
        Command::Hook { action: None, defers } => {
            relay::hook(line.dir.as_deref(), line.state.as_deref(), defers)
        }
        Command::Hook { action: Some(relay::HookAction::Settings { prompts }), defers: _ } => {
            relay::print_settings(&place()?, prompts)
        }
        Command::Hook { action: Some(relay::HookAction::Plugin { folder }), defers: _ } => {
            plugin::write(&folder)
        }
        Command::Sandbox(args) => sandbox::run(line.dir.as_deref(), line.state.as_deref(), *args),
        Command::Shell { call } => match relay::Way::find(line.dir.as_deref(), line.state.as_deref())? {
            relay::Way::Door(door) => relay::run_outside(&door, &call),
            relay::Way::Place(place) => sandbox::shell(&place, &call),
        },
        Command::Warden => Ok(sandbox::serve()),
        Command::Decide(args) => decide::run(&place()?, &args),
        Command::Redteam(args) => redteam::run(&place()?, &args),
        Command::Quarantine(args) => quarantine::run(&place()?, args),
        Command::Redact(args) => redact::run(line.dir.as_deref(), line.state.as_deref(), &args),
        Command::Scan { action } => scan::run(line.dir.as_deref(), line.state.as_deref(), &action),
        Command::Secret { action } => secret::run(line.dir.as_deref(), line.state.as_deref(), action),
        Command::Login(args) => login::sign_in(&place()?, &args),
        Command::Logout { server } => login::sign_out(&place()?, &server),
        Command::Approvals { action } => approvals::run(place, action),
        Command::Phase { action } => phase::run(&place()?, action),
        Command::Console { action } => console::run(&place()?, action),
        Command::Inventory { action } => inventory::run(&place()?, action),
        Command::Policy { action } => policy::run(&place()?, action),
        Command::Proxy { json } => proxy::run(&place()?, json),
        Command::Journal { action } => journal::run(place, action),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor { json } => doctor::run(place().ok().as_ref(), line.state.as_deref(), json),
        Command::DemoServer { server, db } => demo::serve_desk(&server, &db),
    }
}
