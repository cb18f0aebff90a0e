//! What a backend can do: it declares this itself, so that callers need not guess.

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

impl StoreCapabilities {
    /// A store that forgets everything with its process and cannot be shared.
    #[must_use]
    pub const fn new(name: &'static str, document_bytes_max: usize) -> Self {
        Self { name, document_bytes_max, durable: false, shared: false }
    }

    /// What is committed survives the end of the process.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Several instances of a service may share the store.
    #[must_use]
    pub const fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }
}

/// What a transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportCapabilities {
    /// The transport's name in logs and errors, such as `memory`.
    pub name: &'static str,
    /// It reaches contexts of other processes.
    pub remote: bool,
    /// It keeps confirmed messages itself until they are handled. When false, a publish is
    /// confirmed only after every subscriber has acknowledged the message.
    pub durable: bool,
    /// Order by (sender, key) holds from publisher to subscriber.
    pub ordered: bool,
    /// It carries requests and their replies.
    pub requests: bool,
    /// It lists what contexts have rejected, and replays it.
    pub rejected: bool,
    /// The number of a context's partitions may change while messages wait.
    pub repartitions: bool,
    /// The largest message, in bytes.
    pub message_bytes_max: usize,
}

impl TransportCapabilities {
    /// A transport within one process that stores nothing, keeps no order, carries no requests, shows
    /// nothing of what was rejected, and stays with one number of partitions.
    #[must_use]
    pub const fn new(name: &'static str, message_bytes_max: usize) -> Self {
        Self {
            name,
            message_bytes_max,
            remote: false,
            durable: false,
            ordered: false,
            requests: false,
            rejected: false,
            repartitions: false,
        }
    }

    /// It reaches contexts of other processes.
    #[must_use]
    pub const fn with_remote(mut self, remote: bool) -> Self {
        self.remote = remote;
        self
    }

    /// It keeps confirmed messages itself until they are handled. When false, a publish is
    /// confirmed only after every subscriber has acknowledged the message.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Order by (sender, key) holds from publisher to subscriber.
    #[must_use]
    pub const fn with_ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// It lists what contexts have rejected, and replays it.
    #[must_use]
    pub const fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// The number of a context's partitions may change while messages wait.
    #[must_use]
    pub const fn with_repartitions(mut self, repartitions: bool) -> Self {
        self.repartitions = repartitions;
        self
    }

    /// It carries requests and their replies.
    #[must_use]
    pub const fn with_requests(mut self, requests: bool) -> Self {
        self.requests = requests;
        self
    }
}
