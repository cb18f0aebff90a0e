//! A buffer that each thread writes to again, so that what is written is allocated once, in its size.

use std::cell::Cell;

use bytes::Bytes;

/// The largest buffer that a thread keeps, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The smallest buffer that is allocated, in bytes.
const FIRST_BYTES: usize = 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What `write` appends to an empty buffer, and what it returns.
pub(super) fn collect<T, E>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
) -> Result<(Bytes, T), E> {
    // Taken out while it is used: a value that writes another one as JSON finds none, and a thread
    // that ends has none.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    buffer.reserve(FIRST_BYTES);
    let returned = write(&mut buffer)?;
    if buffer.capacity() > KEPT_BYTES_MAX {
        return Ok((buffer.into(), returned));
    }
    let written = Bytes::copy_from_slice(&buffer);
    // Without the thread's place the buffer is dropped.
    let _ = BUFFER.try_with(|place| place.set(buffer));
    Ok((written, returned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(bytes: &[u8]) -> Bytes {
        let write = |buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(bytes);
            Ok::<_, ()>(buffer.len())
        };
        let (written, length) = collect(write).unwrap();
        assert_eq!(length, bytes.len());
        written
    }

    #[test]
    fn nothing_of_an_earlier_or_failed_writer_is_left() {
        assert_eq!(collected(b"long before short"), "long before short");
        assert_eq!(collected(b"short"), "short");
        let failed = collect(|buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(b"half");
            Err::<(), _>("no")
        });
        assert_eq!(failed.unwrap_err(), "no");
        assert_eq!(collected(b""), "");
    }

    #[test]
    fn one_writer_may_use_another() {
        let (outer, inner) = collect(|buffer| {
            buffer.extend_from_slice(b"outer");
            Ok::<_, ()>(collected(b"inner"))
        })
        .unwrap();
        assert_eq!((outer, inner), (Bytes::from("outer"), Bytes::from("inner")));
    }

    #[test]
    fn a_thread_does_not_keep_a_large_buffer() {
        let large = vec![7; KEPT_BYTES_MAX + 1];
        assert_eq!(collected(&large), large);
        let kept = BUFFER.take().capacity();
        assert!(kept <= KEPT_BYTES_MAX, "{kept}");
    }
}
