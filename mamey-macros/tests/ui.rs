//! Every wrong use of a macro has an error that says the mend; the expected text stands beside it.

#[test]
fn wrong_uses_are_refused_with_their_mend() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
