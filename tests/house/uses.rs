//! Finds which file of a crate uses which other, outside of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemUse, Macro, UseTree, Visibility};

use crate::tree::{Crate, Target, attributes, is_test};

/// Which files each file uses, and one path by which it does.
pub(crate) type Uses = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

pub(crate) fn uses(of: &Crate) -> Uses {
    let mut uses = Uses::new();
    for (index, module) in of.modules.iter().enumerate() {
        let used = uses.entry(module.file.clone()).or_default();
        for path in paths(&module.items) {
            if let Some(Target::Item(target)) = of.resolve(index, &path) {
                let file = &of.modules[target].file;
                if *file != module.file {
                    used.entry(file.clone()).or_insert_with(|| path.join("::"));
                }
            }
        }
    }
    uses
}

/// All paths that items mention, those of inline modules aside. A re-export alone is no use.
fn paths(items: &[Item]) -> BTreeSet<Vec<String>> {
    let mut paths = Paths::default();
    for item in items {
        match item {
            Item::Mod(_) => {}
            Item::Use(ItemUse { vis: Visibility::Inherited, tree, .. }) => {
                paths.import(Vec::new(), tree);
            }
            Item::Use(_) => {}
            item => paths.visit_item(item),
        }
    }
    paths.0
}

#[derive(Default)]
struct Paths(BTreeSet<Vec<String>>);

impl Paths {
    fn import(&mut self, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(path, &tree.tree);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(path.clone(), tree));
            }
            UseTree::Name(name) if name.ident == "self" => drop(self.0.insert(path)),
            UseTree::Name(name) => self.end(path, name.ident.to_string()),
            UseTree::Rename(name) => self.end(path, name.ident.to_string()),
            UseTree::Glob(_) => {}
        }
    }

    fn end(&mut self, mut path: Vec<String>, name: String) {
        path.push(name);
        self.0.insert(path);
    }

    /// The paths in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.0.insert(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.0.insert(path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, makro: &'ast Macro) {
        self.tokens(makro.tokens.clone());
        visit::visit_macro(self, makro);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Use(item) = item {
            self.import(Vec::new(), &item.tree);
        } else if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}
