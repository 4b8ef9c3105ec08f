//! A command line: read to its end within its bounds, the same each time.
//! A line that is wholly understood stays so, with the same programs, behind a harmless line before it.
#![no_main]

use judge::request::command::{COMMAND_BYTES_MAX, COMMANDS_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let read = parse(line);
    assert!(read.commands.len() <= COMMANDS_MAX, "{} commands", read.commands.len());
    assert_eq!(read.commands, parse(line).commands, "one line has one reading");
    if read.opaque.is_none() && line.len() + 8 < COMMAND_BYTES_MAX && read.commands.len() < COMMANDS_MAX {
        let after = parse(&format!("true\n{line}"));
        assert!(after.opaque.is_none(), "{:?}", after.opaque);
        let programs: Vec<&str> = std::iter::once("true").chain(read.programs()).collect();
        assert_eq!(programs, after.programs().collect::<Vec<_>>());
    }
});
