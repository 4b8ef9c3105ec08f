//! Phases: what an agent may do now, from the narrowest to the widest, as the operator ordered them.
//! Going narrower is always possible; going wider takes a grant, and it ends by itself.

/// Most phases that can be ordered.
pub const PHASES_MAX: usize = 32;

/// One phase, and how long an agent may stay in it when it was widened into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its name in policies.
    pub name: String,
    /// The longest stay, in seconds.
    pub lasts_seconds: i64,
    /// The longest time without a call, in seconds.
    pub idle_seconds: i64,
    /// How many writes one stay permits; any number where absent.
    pub writes: Option<u32>,
}

/// All phases, the narrowest first, and the one that sessions begin in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    rungs: Vec<Rung>,
    start: usize,
}

/// Why phases cannot be ordered so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLadder {
    /// Two of one name.
    #[error("phase `{0}` is named twice")]
    Twice(String),
    /// None of this name.
    #[error("sessions begin in phase `{start}`, which is not among {known}")]
    Start {
        /// The name.
        start: String,
        /// Those there are.
        known: String,
    },
    /// Too many.
    #[error("more than {PHASES_MAX} phases")]
    TooMany,
}

/// Why a phase is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMove {
    /// There is none of this name.
    #[error("there is no phase `{name}`; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// It is wider than the one in force.
    #[error("`{0}` permits more than `{1}`, so it has to be granted")]
    Wider(String, String),
}

/// Where one conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Where it falls back to: the start, or narrower when it was narrowed.
    base: usize,
    stay: Option<Stay>,
}

/// A stay in a wider phase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stay {
    rung: usize,
    until: i64,
    used_at: i64,
    writes_left: Option<u32>,
}

/// A phase in force, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it ends, in seconds since 1970; absent where it does not end by itself.
    pub until: Option<i64>,
    /// When it ends unless something is called before, in seconds since 1970.
    pub idle_until: Option<i64>,
    /// Writes that are left; any number where absent.
    pub writes_left: Option<u32>,
    /// What comes after.
    pub then: &'a str,
}

impl Ladder {
    /// Orders `rungs`, the narrowest first; sessions begin in `start`. Without any there is only `start`.
    ///
    /// # Errors
    /// [`BadLadder`].
    pub fn new(rungs: Vec<Rung>, start: &str) -> Result<Self, BadLadder> {
        if rungs.len() > PHASES_MAX {
            return Err(BadLadder::TooMany);
        }
        if rungs.is_empty() {
            let only = Rung { name: start.to_owned(), lasts_seconds: 0, idle_seconds: 0, writes: None };
            return Ok(Self { rungs: vec![only], start: 0 });
        }
        for (at, rung) in rungs.iter().enumerate() {
            if rungs[..at].iter().any(|earlier| earlier.name == rung.name) {
                return Err(BadLadder::Twice(rung.name.clone()));
            }
        }
        let mut ladder = Self { rungs, start: 0 };
        match ladder.find(start) {
            Ok(at) => ladder.start = at,
            Err(_) => return Err(BadLadder::Start { start: start.to_owned(), known: ladder.known() }),
        }
        Ok(ladder)
    }

    /// Where every conversation begins.
    pub fn start(&self) -> Phase {
        Phase { base: self.start, stay: None }
    }

    /// The names, the narrowest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rungs.iter().map(|rung| rung.name.as_str())
    }

    /// The phase called `name`.
    ///
    /// # Errors
    /// [`NoMove::Unknown`].
    pub fn rung(&self, name: &str) -> Result<&Rung, NoMove> {
        self.find(name).map(|at| &self.rungs[at])
    }

    fn find(&self, name: &str) -> Result<usize, NoMove> {
        let found = self.rungs.iter().position(|rung| rung.name == name);
        found.ok_or_else(|| NoMove::Unknown { name: name.to_owned(), known: self.known() })
    }

    fn known(&self) -> String {
        self.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

impl Phase {
    /// The phase in force at `now` (seconds since 1970).
    pub fn name<'a>(&self, ladder: &'a Ladder, now: i64) -> &'a str {
        &ladder.rungs[self.rung(ladder, now)].name
    }

    /// The same with all there is to say about it.
    pub fn standing<'a>(&self, ladder: &'a Ladder, now: i64) -> Standing<'a> {
        let then = &ladder.rungs[self.base].name;
        match self.live(ladder, now) {
            Some(stay) => Standing {
                name: &ladder.rungs[stay.rung].name,
                until: Some(stay.until),
                idle_until: Some(stay.used_at.saturating_add(ladder.rungs[stay.rung].idle_seconds)),
                writes_left: stay.writes_left,
                then,
            },
            None => Standing { name: then, until: None, idle_until: None, writes_left: None, then },
        }
    }

    /// Goes to a phase that permits no more than the one in force; it stays there until somebody widens it.
    ///
    /// # Errors
    /// [`NoMove`].
    pub fn narrow(&mut self, ladder: &Ladder, to: &str, now: i64) -> Result<(), NoMove> {
        let to = ladder.find(to)?;
        let from = self.rung(ladder, now);
        if to > from {
            return Err(NoMove::Wider(ladder.rungs[to].name.clone(), ladder.rungs[from].name.clone()));
        }
        self.base = self.base.min(to);
        match &mut self.stay {
            Some(stay) if to > self.base => stay.rung = to,
            stay => *stay = None,
        }
        Ok(())
    }

    /// Goes to `to`, as somebody granted, for `seconds` at most and within the limits of that phase. Writes that are left
    /// count for this stay.
    ///
    /// # Errors
    /// [`NoMove::Unknown`].
    pub fn widen(
        &mut self,
        ladder: &Ladder,
        to: &str,
        seconds: Option<i64>,
        writes: Option<u32>,
        now: i64,
    ) -> Result<(), NoMove> {
        let at = ladder.find(to)?;
        if at <= self.base {
            return self.narrow(ladder, to, now);
        }
        let rung = &ladder.rungs[at];
        let fewest = |one: Option<u32>, other: Option<u32>| one.into_iter().chain(other).min();
        self.stay = Some(Stay {
            rung: at,
            until: now.saturating_add(
                seconds.map_or(rung.lasts_seconds, |wanted| wanted.clamp(0, rung.lasts_seconds)),
            ),
            used_at: now,
            writes_left: fewest(rung.writes, writes),
        });
        Ok(())
    }

    /// Notes a call in the phase called `name`. A write takes one of those that are left.
    ///
    /// # Errors
    /// The phase is over: the call must be decided anew in the one in force.
    pub fn spend(&mut self, ladder: &Ladder, name: &str, is_write: bool, now: i64) -> Result<(), NoMove> {
        let in_force = self.rung(ladder, now);
        if ladder.rungs[in_force].name != name {
            return Err(NoMove::Wider(name.to_owned(), ladder.rungs[in_force].name.clone()));
        }
        if self.live(ladder, now).is_none() {
            self.stay = None;
        }
        if let Some(stay) = &mut self.stay {
            stay.used_at = now;
            if let (true, Some(left)) = (is_write, &mut stay.writes_left) {
                *left -= 1;
            }
        }
        Ok(())
    }

    fn live(&self, ladder: &Ladder, now: i64) -> Option<&Stay> {
        self.stay.as_ref().filter(|stay| {
            now < stay.until
                && now < stay.used_at.saturating_add(ladder.rungs[stay.rung].idle_seconds)
                && stay.writes_left != Some(0)
        })
    }

    fn rung(&self, ladder: &Ladder, now: i64) -> usize {
        self.live(ladder, now).map_or(self.base, |stay| stay.rung)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ladder() -> Ladder {
        let rung = |name: &str, lasts_seconds, idle_seconds, writes| Rung {
            name: name.into(),
            lasts_seconds,
            idle_seconds,
            writes,
        };
        Ladder::new(
            vec![rung("look", 0, 0, None), rung("plan", 100, 100, None), rung("write", 60, 20, Some(1))],
            "plan",
        )
        .expect("a ladder")
    }

    #[test]
    fn narrower_is_free_and_wider_is_granted_and_ends() {
        let ladder = ladder();
        let mut phase = ladder.start();
        assert_eq!(phase.name(&ladder, 0), "plan");
        assert!(matches!(phase.narrow(&ladder, "write", 0), Err(NoMove::Wider(..))));
        assert!(matches!(phase.narrow(&ladder, "wirte", 0), Err(NoMove::Unknown { .. })));
        phase.widen(&ladder, "write", None, None, 0).expect("granted");
        for (now, name) in [(0, "write"), (19, "write"), (20, "plan")] {
            assert_eq!(phase.name(&ladder, now), name, "idle at {now}");
        }
        phase.widen(&ladder, "write", Some(10_000), None, 100).expect("granted");
        for now in [100, 110, 120, 130, 140, 150] {
            assert_eq!(phase.spend(&ladder, "write", false, now), Ok(()), "reading at {now}");
        }
        assert_eq!(phase.name(&ladder, 159), "write");
        assert_eq!(phase.name(&ladder, 160), "plan", "no stay is longer than the phase allows");
        phase.widen(&ladder, "write", None, None, 200).expect("granted");
        assert_eq!(phase.spend(&ladder, "write", true, 201), Ok(()));
        assert_eq!(phase.name(&ladder, 201), "plan", "one write, then it is gone");
        assert!(phase.spend(&ladder, "write", true, 201).is_err());
        phase.narrow(&ladder, "look", 300).expect("narrower");
        assert_eq!(phase.name(&ladder, 10_000), "look", "it does not widen by itself");
        assert!(phase.narrow(&ladder, "plan", 300).is_err());
    }

    #[test]
    fn a_ladder_without_a_mistake_beside_those_with_one() {
        let rung = |name: &str| Rung { name: name.into(), lasts_seconds: 1, idle_seconds: 1, writes: None };
        assert!(Ladder::new(vec![], "default").is_ok());
        assert!(Ladder::new(vec![rung("a"), rung("b")], "b").is_ok());
        assert!(matches!(Ladder::new(vec![rung("a"), rung("a")], "a"), Err(BadLadder::Twice(_))));
        assert!(matches!(Ladder::new(vec![rung("a")], "b"), Err(BadLadder::Start { .. })));
        let many = (0..=PHASES_MAX).map(|at| rung(&at.to_string())).collect();
        assert_eq!(Ladder::new(many, "0"), Err(BadLadder::TooMany));
    }

    proptest! {
        /// Without a grant no order of steps, and no time, leads to a wider phase than the narrowest there was.
        #[test]
        fn nothing_widens_without_a_grant(
            steps in proptest::collection::vec((0..4_u8, 0..3_usize, 0..200_i64), 0..30),
        ) {
            let ladder = ladder();
            let names: Vec<&str> = ladder.names().collect();
            let mut phase = ladder.start();
            let (mut now, mut lowest) = (0, 1);
            for (step, which, later) in steps {
                now += later;
                match step {
                    0 => {
                        if phase.narrow(&ladder, names[which], now).is_ok() {
                            lowest = lowest.min(which);
                        }
                    }
                    _ => drop(phase.spend(&ladder, names[which], step == 1, now)),
                }
                prop_assert_eq!(phase.name(&ladder, now), names[lowest]);
            }
        }
    }
}
