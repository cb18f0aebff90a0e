//! What a backend can do, declared by itself, so that callers ask instead of guessing.

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCapabilities {
    /// The store's name in logs and errors, such as `sqlite`.
    pub name: &'static str,
    /// What is committed survives the end of the process.
    pub durable: bool,
    /// Several instances of a service may share the store.
    pub shared: bool,
    /// The largest document, in bytes.
    pub document_bytes_max: usize,
}

/// What a transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportCapabilities {
    /// The transport's name in logs and errors, such as `memory`.
    pub name: &'static str,
    /// It reaches contexts of other processes.
    pub remote: bool,
    /// It keeps confirmed messages itself until they are handled. When false, a publish is
    /// confirmed only after every subscriber has settled the message.
    pub durable: bool,
    /// Order by (sender, key) holds from publisher to subscriber.
    pub ordered: bool,
    /// It carries requests and their replies.
    pub requests: bool,
    /// The largest message, in bytes.
    pub message_bytes_max: usize,
}
