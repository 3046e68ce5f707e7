//! What a wrong program is told, and that right programs compile.

#[test]
fn wrong_programs_are_told_why_and_right_ones_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
}
