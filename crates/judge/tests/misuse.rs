//! Programs that must not compile, each one step from the one that must: a permit is recorded before it is used,
//! used once, and never made up. Their messages are pinned, so that a case cannot fail for another reason unnoticed.

/// Compiled and run with this test, not by trybuild: a case that passes would make it build every library anew.
#[path = "misuse/the_right_way.rs"]
mod the_right_way;

#[test]
fn the_program_beside_them_runs() {
    the_right_way::main();
}

#[test]
fn what_the_types_refuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/refused/*.rs");
}
