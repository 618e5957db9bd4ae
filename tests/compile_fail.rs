//! Uses of secret types that must not compile, each with the compiler's pinned answer: a test that
//! only asked for *some* error would be satisfied by a typing mistake.

#[test]
fn forbidden_uses_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
