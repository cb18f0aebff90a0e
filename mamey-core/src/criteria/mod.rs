//! Typed filter, sort and keyset pages over a collection's indexed fields.

mod builder;
mod collection;
mod cursor;
mod field;
mod filter;
mod find;
mod indexed;
mod keyset;
mod page;
mod sort;
mod value;

pub use builder::Criteria;
pub use collection::{Collection, Index};
pub use cursor::Cursor;
pub use field::Field;
pub use filter::{Comparison, Filter, ID_FIELD};
pub use find::{Find, SortKey};
pub use indexed::indexed_values;
pub(crate) use indexed::shown;
pub use page::{PAGE_BYTES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, UnreadableDocument};
pub use sort::Sort;
pub(crate) use value::is_indexable;
pub use value::{INDEXED_TEXT_BYTES_MAX, IndexValue, Value, ValueType, indexed_bytes};
