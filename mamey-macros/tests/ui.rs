//! Every wrong use of a macro has an error that says how to fix it; the expected text is beside it.

#[test]
fn wrong_uses_are_refused_with_a_fix() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
