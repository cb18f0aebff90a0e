//! Where library code may panic on purpose: nothing from outside ends a process.

use syn::ExprMethodCall;
use syn::visit::{self, Visit};

use crate::tree::{Crate, attributes, is_test};
use crate::workspace::root;

/// The crates that a service runs.
const LIBRARIES: [&str; 5] =
    [".", "mamey-core", "mamey-cqrs", "mamey-messaging", "mamey-persistence"];

/// The calls of `expect` that are right, and why. Clippy refuses `unwrap`.
const ALLOWED: [(&str, &str); 2] = [
    ("mamey-core/src/id.rs", "without random bytes from the system no id can be made"),
    ("mamey-persistence/src/postgres/transaction.rs", "it is built around an open connection"),
];

#[test]
fn library_code_does_not_expect() {
    let mut found = Vec::new();
    for package in LIBRARIES {
        for module in Crate::read(root(), package).modules {
            let mut expects = Expects(0);
            module.items.iter().for_each(|item| expects.visit_item(item));
            if expects.0 > 0 && !ALLOWED.iter().any(|(file, _)| module.file.ends_with(file)) {
                found.push(module.file);
            }
        }
    }
    assert!(found.is_empty(), "return an error instead of calling `expect`: {found:?}");
}

struct Expects(u32);

impl<'ast> Visit<'ast> for Expects {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        // Modules come one by one.
        if !is_test(attributes(item)) && !matches!(item, syn::Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.0 += u32::from(call.method == "expect");
        visit::visit_expr_method_call(self, call);
    }
}
