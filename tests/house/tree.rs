//! Reads a crate's modules: which file defines which name, and what a path leads to.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod, UseTree, Visibility};

/// Imports that lead to imports: more in a row than any sensible crate has.
const STEPS_MAX: u32 = 16;

/// A crate's modules; the first is its root.
pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
}

/// A module, which shares its file with the modules that are written inline.
pub(crate) struct Module {
    /// From the root of the workspace.
    pub(crate) file: PathBuf,
    pub(crate) items: Vec<Item>,
    parent: Option<usize>,
    names: HashMap<String, Name>,
    globs: Vec<Vec<String>>,
}

enum Name {
    Module(usize),
    Item,
    Import(Vec<String>),
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Module(usize),
    /// An item that this module defines.
    Item(usize),
    /// Something of another crate, whose name comes first.
    Foreign(Vec<String>),
}

impl Crate {
    pub(crate) fn read(root: &Path, folder: &str) -> Self {
        let src = Path::new(folder).join("src");
        let main = if root.join(&src).join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
        let mut this = Self { modules: Vec::new() };
        this.add_file(root, None, &src.join(main), &src);
        this
    }

    /// Adds the module that a file holds; `folder` is where its submodules are.
    fn add_file(
        &mut self,
        root: &Path,
        parent: Option<usize>,
        file: &Path,
        folder: &Path,
    ) -> usize {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(root, parent, file, folder, parsed.items)
    }

    fn add(
        &mut self,
        root: &Path,
        parent: Option<usize>,
        file: &Path,
        folder: &Path,
        items: Vec<Item>,
    ) -> usize {
        let index = self.modules.len();
        let (names, globs) = (HashMap::new(), Vec::new());
        self.modules.push(Module {
            file: file.to_owned(),
            items: Vec::new(),
            parent,
            names,
            globs,
        });
        let items: Vec<Item> =
            items.into_iter().filter(|item| !is_test(attributes(item))).collect();
        for item in &items {
            match item {
                Item::Mod(item) => {
                    let below = self.add_submodule(root, index, file, folder, item);
                    self.name(index, item.ident.to_string(), Name::Module(below));
                }
                Item::Use(item) => self.import(index, Vec::new(), &item.tree),
                _ => {
                    if let Some(name) = name_of(item) {
                        self.name(index, name, Name::Item);
                    }
                }
            }
        }
        self.modules[index].items = items;
        index
    }

    fn add_submodule(
        &mut self,
        root: &Path,
        parent: usize,
        file: &Path,
        folder: &Path,
        item: &ItemMod,
    ) -> usize {
        let name = item.ident.to_string();
        let below = folder.join(&name);
        if let Some((_, items)) = &item.content {
            return self.add(root, Some(parent), file, &below, items.clone());
        }
        let flat = below.with_extension("rs");
        let file = if root.join(&flat).exists() { flat } else { below.join("mod.rs") };
        self.add_file(root, Some(parent), &file, &below)
    }

    /// A module stays when a macro or a function has its name too.
    fn name(&mut self, module: usize, name: String, it: Name) {
        let names = &mut self.modules[module].names;
        if !matches!(names.get(&name), Some(Name::Module(_))) {
            names.insert(name, it);
        }
    }

    fn import(&mut self, module: usize, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(module, path, &tree.tree);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(module, path.clone(), tree));
            }
            UseTree::Glob(_) => self.modules[module].globs.push(path),
            UseTree::Name(_) | UseTree::Rename(_) => {
                let (from, to) = match tree {
                    UseTree::Rename(tree) => (tree.ident.to_string(), tree.rename.to_string()),
                    UseTree::Name(tree) => (tree.ident.to_string(), tree.ident.to_string()),
                    _ => unreachable!("seen above"),
                };
                let to = if from == "self" { path.last().cloned().unwrap_or_default() } else { to };
                if from != "self" {
                    path.push(from);
                }
                // An import of its own name, as in `use url::Url as url`, is no loop.
                self.name(module, to, Name::Import(path));
            }
        }
    }

    /// What `path`, as written in `module`, leads to; `None` for a local or a built-in name.
    pub(crate) fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.resolve_in(module, path, STEPS_MAX)
    }

    fn resolve_in(&self, module: usize, path: &[String], steps: u32) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(0, rest, steps),
            "self" => self.walk(module, rest, steps),
            "super" => self.resolve_below(self.modules[module].parent?, rest, steps),
            _ if self.imports_itself(module, first) => Some(Target::Foreign(path.to_vec())),
            _ if self.knows(module, first) => self.walk(module, path, steps),
            // Another crate needs a path behind it, so a lone name is a local one.
            _ if rest.is_empty() => self.by_glob(module, path, steps),
            _ => self.by_glob(module, path, steps).or_else(|| Some(Target::Foreign(path.to_vec()))),
        }
    }

    fn resolve_below(&self, module: usize, rest: &[String], steps: u32) -> Option<Target> {
        match rest.first().map(String::as_str) {
            Some("super") => self.resolve_below(self.modules[module].parent?, &rest[1..], steps),
            _ => self.walk(module, rest, steps),
        }
    }

    fn knows(&self, module: usize, name: &str) -> bool {
        self.modules[module].names.contains_key(name)
    }

    /// Whether a name is that of another crate, of which an item with the same name is imported.
    fn imports_itself(&self, module: usize, name: &str) -> bool {
        let import = self.modules[module].names.get(name);
        matches!(import, Some(Name::Import(of)) if of[0] == name)
    }

    fn walk(&self, module: usize, path: &[String], steps: u32) -> Option<Target> {
        let Some((first, rest)) = path.split_first() else { return Some(Target::Module(module)) };
        match self.modules[module].names.get(first) {
            Some(Name::Module(below)) => self.walk(*below, rest, steps),
            Some(Name::Item) => Some(Target::Item(module)),
            Some(Name::Import(of)) => match self.follow(module, of, first, steps)? {
                Target::Module(below) => self.walk(below, rest, steps),
                Target::Foreign(mut path) => {
                    path.extend_from_slice(rest);
                    Some(Target::Foreign(path))
                }
                item @ Target::Item(_) => Some(item),
            },
            None => self.by_glob(module, path, steps),
        }
    }

    /// What an import leads to, which is another crate if it begins with no module of ours.
    fn follow(&self, module: usize, of: &[String], name: &str, steps: u32) -> Option<Target> {
        let is_loop = of.first().is_some_and(|first| first == name);
        let ours = ["crate", "self", "super"];
        if is_loop || !ours.contains(&of[0].as_str()) && !self.knows(module, &of[0]) {
            return Some(Target::Foreign(of.to_vec()));
        }
        self.resolve_in(module, of, steps)
    }

    fn by_glob(&self, module: usize, path: &[String], steps: u32) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        self.modules[module].globs.iter().find_map(|glob| {
            match self.resolve_in(module, glob, steps)? {
                Target::Module(below) => self.walk(below, path, steps),
                _ => None,
            }
        })
    }
}

/// Whether an item is there for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        let tokens = list.map(|list| list.tokens.to_string()).unwrap_or_default();
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && (tokens == "test" || tokens.starts_with("all (test"))
    })
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
