//! The quickstart as its user runs it: totals, malformed input, one context, and a kill at any
//! moment.

#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kill;
#[cfg(feature = "postgres")]
mod postgres;
mod program;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(all(feature = "postgres", feature = "rabbitmq"))]
mod services;

use std::fs;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use program::{Totals, orders_file, quickstart};

const SHIPPED_ORDERS: u64 = 1000;

#[test]
fn the_shipped_orders_all_end_and_the_stock_balances() {
    let folder = tempfile::tempdir().unwrap();
    let totals = quickstart(folder.path()).totals();
    assert_eq!(totals.orders, SHIPPED_ORDERS);
    assert_eq!(totals.paid + totals.refused + totals.out_of_stock, SHIPPED_ORDERS);
    assert!(totals.paid > 0 && totals.refused > 0 && totals.out_of_stock > 0, "{totals:?}");
    assert!(totals.stock_balanced, "{totals:?}");
    assert_eq!((totals.bad_lines, totals.dead_letters), (0, 0));
    // One event when placed; refused orders end with one more, the others with two more.
    assert_eq!(totals.published, 3 * SHIPPED_ORDERS - totals.refused);
    // Two contexts handle out of stock.
    assert_eq!(totals.handled, totals.published + totals.out_of_stock);

    let again = quickstart(folder.path()).totals();
    assert_eq!(again, totals, "a second run on the same folder changes nothing");
}

#[test]
fn a_malformed_line_is_named_and_the_others_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines: Vec<String> =
        fs::read_to_string(orders_file()).unwrap().lines().take(20).map(str::to_owned).collect();
    lines[3] = "{\"order_id\":".to_owned();
    lines[7] = "not JSON at all \u{0}".to_owned();
    lines[11] = lines[11].replace("\"amount_cents\":", "\"amount_cents\":-");
    lines[13] = lines[12].clone();
    lines.push(String::new());
    let orders = folder.path().join("orders.jsonl");
    fs::write(&orders, lines.join("\n")).unwrap();

    let run = quickstart(folder.path()).orders(&orders).run();
    assert!(run.status.success(), "{run:?}");
    let complaints = String::from_utf8_lossy(&run.stderr);
    for line in ["line 4 ", "line 8 ", "line 12 "] {
        assert!(complaints.contains(line), "{line} is not named in: {complaints}");
    }
    let totals = Totals::of(&run);
    assert_eq!((totals.bad_lines, totals.orders), (3, 16), "a repeated order is one order");
    assert!(totals.stock_balanced);
}

#[test]
fn a_missing_file_or_an_unwritable_folder_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = quickstart(folder.path()).orders("/nonexistent/orders.jsonl".as_ref()).run();
    assert!(!run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("/nonexistent/orders.jsonl"));

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let run = quickstart(&file).run();
    assert!(!run.status.success());
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert!(complaint.starts_with("error: ") && complaint.contains("file"), "{complaint}");
}

#[test]
fn one_context_alone_keeps_its_events_until_the_others_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let alone = quickstart(folder.path()).context("orders").totals();
    assert_eq!((alone.orders, alone.published, alone.paid), (SHIPPED_ORDERS, 0, 0));

    let together = quickstart(folder.path()).totals();
    let undisturbed = quickstart(tempfile::tempdir().unwrap().path()).totals();
    assert_eq!(together, undisturbed);
}

#[cfg(target_os = "linux")]
#[test]
fn sigterm_ends_a_service_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = quickstart(folder.path()).context("payments").spawn();
    let id = process.id();
    wait_until("it catches SIGTERM", || catches_sigterm(id));
    mamey_test_support::terminate(&process);
    wait_until("it ended", || process.try_wait().unwrap().is_some());
    assert!(process.wait().unwrap().success());
    // SQLite's write-ahead log exists while the store is open; closing it deletes the file.
    assert!(folder.path().join("quickstart.db").exists());
    assert!(!folder.path().join("quickstart.db-wal").exists());
}

/// The kernel shows which signals a process catches, as bits counted from signal 1.
#[cfg(target_os = "linux")]
fn catches_sigterm(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
}

#[cfg(target_os = "linux")]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
