//! Programs that must not compile, each one step from the one that must: a permit is recorded before it is used,
//! used once, and never made up. Their messages are pinned, so that a case cannot fail for another reason unnoticed.

#[test]
fn what_the_types_refuse_beside_what_they_allow() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/misuse/the_right_way.rs");
    programs.compile_fail("tests/misuse/refused/*.rs");
}
