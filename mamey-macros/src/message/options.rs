//! The options of `#[command(…)]`, `#[query(…)]`, `#[event(…)]` and `#[message(…)]`.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Error, LitInt, LitStr, Path, Result, Type, parse_quote};

use super::key::KeyPath;
use super::kind::Kind;
use crate::attributes::{crate_path, default_crate, each_option, flag, text, value};
use crate::names::{check_dotted, is_dotted, kebab_case};

/// What the attribute says, with every default filled in.
pub(super) struct Options {
    pub(super) krate: Path,
    pub(super) name: String,
    /// Whether the name is written out, so that it may be sent.
    pub(super) is_named: bool,
    pub(super) version: u32,
    pub(super) reply: Type,
    pub(super) key: Option<KeyPath>,
    pub(super) from: Option<Type>,
    pub(super) must_route: bool,
    pub(super) validate: bool,
}

const COMMAND: [&str; 7] = ["reply", "name", "version", "key", "from", "validate", "crate"];
const QUERY: [&str; 6] = ["reply", "name", "version", "from", "validate", "crate"];
const SENT: [&str; 7] = ["name", "version", "key", "from", "must_route", "validate", "crate"];

/// The options as written.
#[derive(Default)]
struct Written {
    krate: Option<Path>,
    name: Option<LitStr>,
    version: Option<LitInt>,
    reply: Option<Type>,
    key: Option<KeyPath>,
    from: Option<Type>,
    must_route: bool,
    validate: bool,
}

impl Options {
    pub(super) fn read(kind: Kind, input: &DeriveInput) -> Result<Self> {
        let known: &[&str] = match kind {
            Kind::Command => &COMMAND,
            Kind::Query => &QUERY,
            Kind::Event | Kind::Message => &SENT,
        };
        let mut written = Written::default();
        each_option(&input.attrs, kind.attribute(), known, |option, meta| {
            written.take(option, meta)
        })?;
        let name = written.name(kind, input)?;
        let version = written.version()?;
        Ok(Self {
            krate: written.krate.unwrap_or_else(default_crate),
            name,
            is_named: written.name.is_some(),
            version,
            reply: written.reply.unwrap_or_else(|| parse_quote!(())),
            key: written.key,
            from: written.from,
            must_route: written.must_route,
            validate: written.validate,
        })
    }
}

impl Written {
    fn take(&mut self, option: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match option {
            "reply" => self.reply = Some(value(meta, "reply = Type")?),
            "name" => self.name = Some(text(meta, "name = \"context.message-name\"")?),
            "version" => self.version = Some(value(meta, "version = 2")?),
            "key" => self.key = Some(value(meta, "key = field")?),
            "from" => self.from = Some(value(meta, "from = OldType")?),
            "must_route" => self.must_route = flag(meta)?,
            "validate" => self.validate = flag(meta)?,
            _ => self.krate = Some(crate_path(meta)?),
        }
        Ok(())
    }

    fn name(&self, kind: Kind, input: &DeriveInput) -> Result<String> {
        let own = kebab_case(&input.ident.unraw().to_string());
        let Some(name) = &self.name else {
            return default_name(kind, input.ident.span(), own);
        };
        check_dotted(name, &format!("context.{own}"))?;
        if kind == Kind::Event && !name.value().contains('.') {
            let (name, written) = (name.span(), name.value());
            let error = format!(
                "an event's name begins with the context that publishes it: \
                 write `name = \"context.{written}\"`"
            );
            return Err(Error::new(name, error));
        }
        Ok(name.value())
    }

    fn version(&self) -> Result<u32> {
        let Some(literal) = &self.version else {
            return self.from.as_ref().map_or(Ok(1), |from| Err(needs_version(from)));
        };
        match literal.base10_parse() {
            Ok(0) | Err(_) => {
                let error = "versions are whole numbers from 1 to 4294967295";
                Err(Error::new(literal.span(), error))
            }
            Ok(1) => self.from.as_ref().map_or(Ok(1), |from| Err(needs_version(from))),
            Ok(version) => Ok(version),
        }
    }
}

/// A message that stays in its process can be named after its type; one that is sent needs a name
/// that does not change with the type's.
fn default_name(kind: Kind, at: Span, own: String) -> Result<String> {
    let attribute = kind.attribute();
    if matches!(kind, Kind::Event | Kind::Message) {
        let error = format!(
            "give it a name on the wire, which renaming the type does not change: \
             add `#[{attribute}(name = \"context.{own}\")]`"
        );
        return Err(Error::new(at, error));
    }
    if !is_dotted(&own) {
        let error = format!(
            "this type's name cannot be turned into a message's name: \
             add `#[{attribute}(name = \"context.message-name\")]`"
        );
        return Err(Error::new(at, error));
    }
    Ok(own)
}

fn needs_version(from: &Type) -> Error {
    let error = "`from` upcasts an older version to this one: add `version = 2` or higher";
    Error::new_spanned(from, error)
}
