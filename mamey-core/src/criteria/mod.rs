//! Typed filter, sort and keyset pages over a collection's indexed fields.

mod collection;
mod cursor;
mod field;
mod filter;
mod find;
mod page;
mod value;

pub use collection::{Collection, Index};
pub use cursor::Cursor;
pub use field::{Field, Sort};
pub use filter::{Comparison, Filter, ID_FIELD};
pub use find::{Find, SortKey};
pub(crate) use page::cursor_at;
pub use page::{Criteria, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page};
pub use value::{INDEXED_TEXT_BYTES_MAX, IndexValue, Value, ValueType};
