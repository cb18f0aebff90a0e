//! Finds which types of other crates stand in a crate's public signatures.

use std::collections::{BTreeMap, BTreeSet};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Fields, ImplItem, Item, ItemImpl, ItemTrait, Path, Token, TraitItem, Type, UseTree,
};

use crate::tree::{Crate, Target, is_public};

/// Crates that need no permission: the language's own.
const OWN: [&str; 3] = ["std", "core", "alloc"];

/// Each foreign name in public signatures, and one file where it stands.
pub(crate) fn foreign(of: &Crate) -> BTreeMap<String, String> {
    let public = public_names(of);
    let mut found = BTreeMap::new();
    for (index, module) in of.modules.iter().enumerate() {
        let mut signatures = Signatures { public: &public, paths: BTreeSet::new() };
        module.items.iter().for_each(|item| signatures.item(item));
        for path in signatures.paths {
            if let Some(Target::Foreign(path)) = of.resolve(index, &path)
                && is_another_crate(&path[0])
            {
                found.entry(path.join("::")).or_insert_with(|| module.file.display().to_string());
            }
        }
    }
    found
}

/// Whether a path begins with a crate that is neither ours nor the language's; it may begin with a
/// generic parameter too.
fn is_another_crate(first: &str) -> bool {
    let is_ours = first.starts_with("mamey") || OWN.contains(&first);
    !is_ours && first.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The names of the types and traits that are public.
fn public_names(of: &Crate) -> BTreeSet<String> {
    let items = of.modules.iter().flat_map(|module| &module.items);
    let names = items.filter_map(|item| match item {
        Item::Struct(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Enum(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Trait(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        _ => None,
    });
    names.collect()
}

/// The paths in what is public of some items.
struct Signatures<'c> {
    public: &'c BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
}

impl Signatures<'_> {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Impl(item) => self.implementation(item),
            Item::Trait(item) if is_public(&item.vis) => self.interface(item),
            Item::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
            Item::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Static(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Type(item) if is_public(&item.vis) => self.visit_item_type(item),
            Item::Struct(item) if is_public(&item.vis) => {
                self.derived(&item.attrs);
                self.visit_generics(&item.generics);
                self.fields(&item.fields, false);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                self.derived(&item.attrs);
                self.visit_generics(&item.generics);
                item.variants.iter().for_each(|variant| self.fields(&variant.fields, true));
            }
            Item::Use(item) if is_public(&item.vis) => self.re_exported(Vec::new(), &item.tree),
            _ => {}
        }
    }

    fn is_public(&self, path: &Path) -> bool {
        path.segments.last().is_some_and(|last| self.public.contains(&last.ident.to_string()))
    }

    fn fields(&mut self, fields: &Fields, all: bool) {
        for field in fields.iter().filter(|field| all || is_public(&field.vis)) {
            self.visit_type(&field.ty);
        }
    }

    fn interface(&mut self, item: &ItemTrait) {
        self.visit_generics(&item.generics);
        item.supertraits.iter().for_each(|bound| self.visit_type_param_bound(bound));
        for item in &item.items {
            match item {
                TraitItem::Fn(item) => self.visit_signature(&item.sig),
                TraitItem::Type(item) => self.visit_trait_item_type(item),
                TraitItem::Const(item) => self.visit_type(&item.ty),
                _ => {}
            }
        }
    }

    /// An implementation shows its trait, its type and its public functions, unless trait or type
    /// are our own and private.
    fn implementation(&mut self, item: &ItemImpl) {
        let Type::Path(of) = &*item.self_ty else { return };
        let of_ours = item.trait_.as_ref().is_some_and(|(path, _)| self.is_public(path));
        if !of_ours && !self.is_public(&of.path) {
            return;
        }
        self.visit_path(&of.path);
        if let Some((path, _)) = &item.trait_ {
            self.visit_path(path);
        }
        for item in &item.items {
            match item {
                ImplItem::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
                ImplItem::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
                _ => {}
            }
        }
    }

    fn derived(&mut self, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let paths = attribute.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated);
            paths.unwrap().iter().for_each(|path| self.visit_path(path));
        }
    }

    fn re_exported(&mut self, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.re_exported(path, &tree.tree);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.re_exported(path.clone(), tree));
            }
            UseTree::Name(tree) => {
                path.push(tree.ident.to_string());
                self.paths.insert(path);
            }
            UseTree::Rename(tree) => {
                path.push(tree.ident.to_string());
                self.paths.insert(path);
            }
            UseTree::Glob(_) => {}
        }
    }
}

impl<'ast> Visit<'ast> for Signatures<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}
