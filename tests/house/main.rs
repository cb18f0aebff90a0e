//! The rules of the house, as tests: who may use whom, how files look, what documents promise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod circles;
mod documents;
mod files;
mod foreign;
mod layers;
mod manifests;
mod panics;
mod signatures;
mod tree;
mod uses;
mod workspace;
