//! Finds the id and the indexed fields of an aggregate, and refuses names that a store cannot use.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{DeriveInput, Error, Field, Fields as SynFields, Member, Result, Type};

use crate::attributes::{all, each_option, flag};
use crate::names::{column_rule, is_column};
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
        let (mut id, mut indexed) = (None, Vec::new());
        all(named.named.iter().map(|field| match (role_of(field)?, &field.ident) {
            (Some(Role::Id), Some(ident)) => take_id(&mut id, ident, field),
            (Some(Role::Index { unique }), Some(ident)) => {
                indexed.push(IndexedField::check(ident, field, unique)?);
                Ok(())
            }
            _ => Ok(()),
        }))?;
        let id = id.ok_or_else(|| Error::new_spanned(&input.ident, NO_ID))?;
        Ok(Self { id, indexed })
    }
}

impl<'a> IndexedField<'a> {
    fn check(ident: &'a Ident, field: &'a Field, unique: bool) -> Result<Self> {
        let name = ident.unraw().to_string();
        if RESERVED.contains(&name.as_str()) {
            let error = format!("every collection has a column `{name}` already: rename the field");
            return Err(Error::new_spanned(ident, error));
        }
        if !is_column(&name) {
            let error = format!("an indexed field becomes a column: its name is {}", column_rule());
            return Err(Error::new_spanned(ident, error));
        }
        Ok(Self { ident, name, ty: &field.ty, unique })
    }

    /// The name of the constant for criteria.
    pub(super) fn constant(&self) -> Ident {
        Ident::new(&self.name.to_uppercase(), self.ident.span())
    }
}

fn take_id<'a>(id: &mut Option<IdField<'a>>, ident: &Ident, field: &'a Field) -> Result<()> {
    if id.is_some() {
        let error = "an aggregate has one id: keep `#[aggregate(id)]` on one field";
        return Err(Error::new_spanned(ident, error));
    }
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
