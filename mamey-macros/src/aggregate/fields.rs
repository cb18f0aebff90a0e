//! Finds the id and the indexed fields of an aggregate, and refuses names that a store cannot use.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{DeriveInput, Error, Field, Fields as SynFields, FieldsNamed, Member, Result, Type};

use crate::attributes::{all, each_option, flag};
use crate::names::{field_rule, is_field};
use crate::serialized::Naming;
use crate::shape::struct_fields;

/// The fields that matter to a store.
pub(super) struct Fields<'a> {
    pub(super) id: IdField<'a>,
    pub(super) indexed: Vec<IndexedField<'a>>,
}

pub(super) struct IdField<'a> {
    pub(super) member: Member,
    pub(super) ty: &'a Type,
}

pub(super) struct IndexedField<'a> {
    pub(super) ident: &'a Ident,
    /// What serde calls it in the document, and so do the stores.
    pub(super) name: String,
    pub(super) ty: &'a Type,
    pub(super) unique: bool,
}

/// The columns that every collection has already.
const RESERVED: [&str; 3] = ["id", "version", "data"];

const NOT_A_STRUCT: &str =
    "an aggregate is a struct with named fields: wrap this in one that has an id";

const NO_ID: &str = "mark the field that is its id with `#[aggregate(id)]`";

enum Role {
    Id,
    Index { unique: bool },
}

impl<'a> Fields<'a> {
    pub(super) fn read(input: &'a DeriveInput) -> Result<Self> {
        let SynFields::Named(named) = struct_fields(input, NOT_A_STRUCT)? else {
            return Err(Error::new_spanned(&input.ident, NOT_A_STRUCT));
        };
        let (naming, plain) = (Naming::of_struct(&input.attrs), Naming::default());
        let names = naming.as_ref().unwrap_or(&plain);
        let (mut id, mut indexed) = (None, Vec::new());
        all(named.named.iter().map(|field| match (role_of(field)?, &field.ident) {
            (Some(Role::Id), Some(ident)) => take_id(&mut id, ident, field),
            (Some(Role::Index { unique }), Some(ident)) => {
                indexed.push(IndexedField::check(names, ident, field, unique)?);
                Ok(())
            }
            _ => Ok(()),
        }))?;
        let id = id.ok_or_else(|| Error::new_spanned(&input.ident, NO_ID))?;
        // Without an index it does not matter how the document is written.
        if !indexed.is_empty() {
            check_written_once(&naming?, named, &indexed)?;
        }
        Ok(Self { id, indexed })
    }
}

impl<'a> IndexedField<'a> {
    fn check(naming: &Naming, ident: &'a Ident, field: &'a Field, unique: bool) -> Result<Self> {
        let name = naming.field(ident, &field.attrs)?;
        if RESERVED.contains(&name.as_str()) {
            let error = format!(
                "every collection has a column `{name}` already: rename the field, or give it \
                 another name by `#[serde(rename = \"…\")]`"
            );
            return Err(Error::new_spanned(ident, error));
        }
        if !is_field(&name) {
            let error = format!(
                "an indexed field becomes a column under the name that serde writes, `{name}`: \
                 give it one of {} by `#[serde(rename = \"…\")]`",
                field_rule()
            );
            return Err(Error::new_spanned(ident, error));
        }
        Ok(Self { ident, name, ty: &field.ty, unique })
    }

    /// The name of the constant for criteria.
    pub(super) fn constant(&self) -> Ident {
        let name = self.ident.unraw().to_string();
        Ident::new(&name.to_uppercase(), self.ident.span())
    }
}

/// Refuses a name that serde writes twice: which of the two would be indexed?
fn check_written_once(
    naming: &Naming,
    fields: &FieldsNamed,
    indexed: &[IndexedField<'_>],
) -> Result<()> {
    let twice = |one: &IndexedField<'_>| {
        let error = format!("serde writes `{}` twice in one document: rename one", one.name);
        Err(Error::new_spanned(one.ident, error))
    };
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let name = naming.any_field(ident, &field.attrs)?;
        let other =
            |one: &&IndexedField<'_>| one.ident != ident && Some(&one.name) == name.as_ref();
        if let Some(one) = indexed.iter().find(other) {
            return twice(one);
        }
    }
    indexed.iter().find(|one| naming.has_tag(&one.name)).map_or(Ok(()), twice)
}

fn take_id<'a>(id: &mut Option<IdField<'a>>, ident: &Ident, field: &'a Field) -> Result<()> {
    if id.is_some() {
        let error = "an aggregate has one id: keep `#[aggregate(id)]` on one field";
        return Err(Error::new_spanned(ident, error));
    }
    // Its name does not matter, because a store keeps the id beside the document.
    Naming::default().field(ident, &field.attrs)?;
    *id = Some(IdField { member: Member::Named(ident.clone()), ty: &field.ty });
    Ok(())
}

fn role_of(field: &Field) -> Result<Option<Role>> {
    let (mut id, mut index, mut unique) = (false, false, false);
    each_option(&field.attrs, "aggregate", &["id", "index", "unique"], |option, meta| {
        match option {
            "id" => id = flag(meta)?,
            "index" => index = flag(meta)?,
            _ => unique = flag(meta)?,
        }
        match (id, index, unique) {
            (true, true, _) | (true, _, true) => {
                Err(meta.error("the id is indexed and unique already: keep `id` alone"))
            }
            (_, true, true) => Err(meta.error("`unique` includes `index`: keep `unique` alone")),
            _ => Ok(()),
        }
    })?;
    Ok(match (id, index || unique) {
        (true, _) => Some(Role::Id),
        (_, true) => Some(Role::Index { unique }),
        _ => None,
    })
}
