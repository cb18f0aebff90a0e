//! Given, when, then over one bounded context, repeatable down to ids and times.
