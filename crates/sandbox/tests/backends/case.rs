//! One promise: a profile, a command, and the answer that every backend must give.
//! A case never asks which backend it is talking to, with one exception: layers, which backends name themselves.

use crate::subject::{Backend, Place, Ran, Subject};
use sandbox::{End, Limit, Profile};
use std::path::PathBuf;

/// What came of asking.
pub(crate) enum Answer {
    Same,
    Skipped(String),
}

type Shape = Box<dyn Fn(&mut Profile, &Place)>;
type Arrange = Box<dyn Fn(&Place)>;
type Check = Box<dyn Fn(&Subject, &Place, &Ran) -> Result<(), String>>;

/// One promise.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    command: Vec<String>,
    input: &'static str,
    cwd: Option<PathBuf>,
    needs: Option<&'static str>,
    shapes: Vec<Shape>,
    arrange: Vec<Arrange>,
    checks: Vec<Check>,
    status: Option<i32>,
}

impl Case {
    /// Runs a program; unless told otherwise it must succeed.
    pub(crate) fn run(name: &'static str, command: &[&str]) -> Self {
        Self {
            name,
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            input: "",
            cwd: None,
            needs: None,
            shapes: Vec::new(),
            arrange: Vec::new(),
            checks: Vec::new(),
            status: Some(0),
        }
    }

    /// Runs a shell script.
    pub(crate) fn sh(name: &'static str, script: &str) -> Self {
        Self::run(name, &["sh", "-c", script])
    }

    /// Runs a Python script, where the host has Python among its system's programs.
    pub(crate) fn python(name: &'static str, script: &str) -> Self {
        Self::run(name, &["/usr/bin/python3", "-c", script]).needs("/usr/bin/python3")
    }

    pub(crate) fn needs(mut self, path: &'static str) -> Self {
        self.needs = Some(path);
        self
    }

    pub(crate) fn input(mut self, input: &'static str) -> Self {
        self.input = input;
        self
    }

    pub(crate) fn cwd(mut self, path: &str) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Changes the profile.
    pub(crate) fn with(mut self, shape: impl Fn(&mut Profile, &Place) + 'static) -> Self {
        self.shapes.push(Box::new(shape));
        self
    }

    /// Arranges the host beforehand; all it makes in the place becomes the caller's.
    pub(crate) fn given(mut self, arrange: impl Fn(&Place) + 'static) -> Self {
        self.arrange.push(Box::new(arrange));
        self
    }

    pub(crate) fn status(mut self, status: i32) -> Self {
        self.status = Some(status);
        self
    }

    /// Any status at all.
    pub(crate) fn any_status(mut self) -> Self {
        self.status = None;
        self
    }

    /// What every OCI runtime says instead, where it cannot give what the native backend can.
    pub(crate) fn for_oci(mut self, status: i32, complaint: &'static str) -> Self {
        let native = self.status.take();
        self.check(move |subject, _, ran| {
            let wanted = if subject.backend == Backend::Native { native } else { Some(status) };
            let complains = subject.backend == Backend::Native || ran.error.contains(complaint);
            let fits = wanted == Some(ran.status) && complains;
            if fits { Ok(()) } else { Err(format!("status {}", ran.status)) }
        })
    }

    /// Any status but success.
    pub(crate) fn fails(mut self) -> Self {
        self.status = None;
        self.check(|_, _, ran| if ran.status == 0 { Err("it succeeded".to_owned()) } else { Ok(()) })
    }

    /// Standard output, exactly; `{work}` stands for the workspace.
    pub(crate) fn says(self, output: &'static str) -> Self {
        self.check(move |_, place, ran| {
            let wanted = output.replace("{work}", &place.workspace.display().to_string());
            if ran.output == wanted { Ok(()) } else { Err(format!("said {:?}, not {wanted:?}", ran.output)) }
        })
    }

    /// Part of standard error.
    pub(crate) fn complains(self, part: &'static str) -> Self {
        self.check(move |_, _, ran| {
            let found = ran.error.contains(part);
            if found { Ok(()) } else { Err(format!("complained {:?}, without {part:?}", ran.error)) }
        })
    }

    /// It must have been ended by, or must have reached, this limit.
    pub(crate) fn reaches(self, limit: Limit, ends: bool) -> Self {
        self.check(move |_, _, ran| {
            let Some(outcome) = &ran.outcome else { return Err("no outcome".to_owned()) };
            let reached = outcome.reached.contains(&limit);
            let ended = !ends || outcome.end == End::Limit(limit);
            if reached && ended {
                Ok(())
            } else {
                Err(format!("{:?}, reached {:?}", outcome.end, outcome.reached))
            }
        })
    }

    pub(crate) fn check(
        mut self,
        check: impl Fn(&Subject, &Place, &Ran) -> Result<(), String> + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Asks `subject`.
    pub(crate) fn ask(&self, subject: &Subject) -> Result<Answer, String> {
        if let Some(path) = self.needs
            && !std::path::Path::new(path).exists()
        {
            return Ok(Answer::Skipped(format!("this host has no {path}")));
        }
        let place = subject.place();
        for arrange in &self.arrange {
            arrange(&place);
        }
        for folder in [&place.workspace, &place.beside] {
            subject.hand_over(folder);
        }
        let mut profile = subject.profile(&place);
        for shape in &self.shapes {
            shape(&mut profile, &place);
        }
        let (program, arguments) = self.command.split_first().unwrap();
        let fill = |text: &String| {
            let text = text.replace("{work}", &place.workspace.display().to_string());
            text.replace("{beside}", &place.beside.display().to_string())
        };
        let command = sandbox::Command {
            program: fill(program),
            arguments: arguments.iter().map(fill).collect(),
            cwd: self.cwd.clone(),
        };
        let ran = subject.start_command(&place, &profile, command).end(self.input);
        let told = || format!("\n    output {:?}\n    error {:?}", clip(&ran.output), clip(&ran.error));
        if let Some(wanted) = self.status
            && ran.status != wanted
        {
            return Err(format!("status {}, not {wanted}{}", ran.status, told()));
        }
        for check in &self.checks {
            check(subject, &place, &ran).map_err(|why| format!("{why}{}", told()))?;
        }
        Ok(Answer::Same)
    }
}

fn clip(text: &str) -> String {
    text.chars().take(600).collect()
}
