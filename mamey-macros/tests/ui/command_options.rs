//! Options of a command that are unknown, doubled or unfit.

use mamey_macros::Command;

#[derive(Clone, Command)]
#[command(replies = u64, crate = mamey_core)]
struct UnknownOption;

#[derive(Clone, Command)]
#[command(must_route, crate = mamey_core)]
struct OptionOfAnEvent;

#[derive(Clone, Command)]
#[command(reply = u64, crate = mamey_core)]
#[command(reply = u32)]
struct GivenTwice;

#[derive(Clone, Command)]
#[command(reply, crate = mamey_core)]
struct WithoutValue;

#[derive(Clone, Command)]
#[command(validate = true, crate = mamey_core)]
struct FlagWithValue;

#[derive(Clone, Command)]
#[command(name = place_order, crate = mamey_core)]
struct NameWithoutQuotes;

#[derive(Clone, Command)]
#[command(name = "orders.PlaceOrder", crate = mamey_core)]
struct CapitalsInName;

#[derive(Clone, Command)]
#[command(version = 0, crate = mamey_core)]
struct VersionZero;

#[derive(Clone, Command)]
#[command(version = "2", crate = mamey_core)]
struct VersionInQuotes;

#[derive(Clone, Command)]
#[command(crate = "mamey_core")]
struct CrateInQuotes;

#[derive(Clone, Command)]
#[command(crate)]
struct CrateWithoutValue;

#[derive(Clone, Command)]
#[command]
struct EmptyAttribute;

#[derive(Clone, Command)]
#[command(crate = mamey_core)]
struct Größe;

fn main() {}
