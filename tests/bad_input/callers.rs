//! What callers hand in: idempotency keys, page tokens, and text of every kind.

use mamey::ErrorKind;
use mamey::criteria::INDEXED_TEXT_BYTES_MAX;
use mamey::transport::{REJECTED_PAGE_MAX, RejectedId};

use crate::domain::{KeepNote, Notes};
use crate::rows;
use crate::words::{assert_fails, assert_says};
use crate::world::World;

rows! {
    an_idempotency_key_that_cannot_be_kept_is_refused
    the_longest_idempotency_key_is_kept
    a_page_token_of_other_criteria_is_refused
    forged_page_tokens_are_refused_or_are_only_a_position
    text_of_every_kind_comes_back_as_it_was
    an_id_or_indexed_text_of_ten_kilobytes_is_refused_by_name
    a_note_that_is_there_already_is_named
    an_operator_who_asks_for_too_much_or_for_nothing_is_told_so
}

async fn an_operator_who_asks_for_too_much_or_for_nothing_is_told_so(world: &mut World) {
    let error = world.service.rejected("nobody").err().unwrap();
    assert_says(&error, ErrorKind::NotFound, &["`nobody`"]);
    let rejected = world.service.rejected("listener").unwrap();
    let words = ["at a time are too many", "1000 at most"];
    for limit in [REJECTED_PAGE_MAX + 1, u32::MAX] {
        assert_fails(rejected.list(None, limit).await, ErrorKind::Invalid, &words);
    }
    let unknown = RejectedId::derived(b"unknown");
    let many = vec![unknown; REJECTED_PAGE_MAX as usize + 1];
    assert_fails(rejected.replay(&many).await, ErrorKind::Invalid, &words);
    assert_fails(rejected.discard(&many).await, ErrorKind::Invalid, &words);
    assert_eq!(rejected.list(Some(unknown), REJECTED_PAGE_MAX).await.unwrap(), []);
    assert_eq!(rejected.replay(&[unknown, unknown]).await.unwrap(), 0);
    assert_eq!(rejected.discard(&[unknown]).await.unwrap(), 0);
    for text in ["", "1", "'; DROP TABLE topics; --", &"f".repeat(10_000)] {
        assert_fails(text.parse::<RejectedId>(), ErrorKind::Invalid, &["UUID"]);
    }
}

fn keep(id: &str, text: &str) -> KeepNote {
    KeepNote { id: id.to_owned(), text: text.to_owned() }
}

async fn an_idempotency_key_that_cannot_be_kept_is_refused(world: &mut World) {
    for key in ["", "\0", "a\u{1f}b", "line\nbreak", &"k".repeat(256), &"k".repeat(10_000_000)] {
        let request = world.service.send(keep("a", "")).idempotency_key(key);
        let bytes = format!("this one has {} bytes", key.len());
        let words = ["an idempotency key has 1 to 255 bytes", &bytes];
        assert_fails(request.await, ErrorKind::Invalid, &words);
    }
    assert!(notes(world, false, None).await.0.is_empty(), "no handler ran");
}

async fn the_longest_idempotency_key_is_kept(world: &mut World) {
    for key in ["k".repeat(255), "é".repeat(127), "'; DROP TABLE topics; --".to_owned()] {
        for _ in 0..2 {
            let request = world.service.send(keep(&key, "")).idempotency_key(&key);
            assert_eq!(request.await.unwrap(), key);
        }
    }
}

async fn a_page_token_of_other_criteria_is_refused(world: &mut World) {
    three_notes(world).await;
    let (_, token) = notes(world, true, None).await;
    let request = world.service.query(Notes { by_text: false, token });
    let words = ["cursor belongs to other criteria", "start from the first page"];
    assert_fails(request.await, ErrorKind::Invalid, &words);
}

async fn forged_page_tokens_are_refused_or_are_only_a_position(world: &mut World) {
    three_notes(world).await;
    let deep = encoded(&"[".repeat(6000));
    let number_too_large = encoded(r#"[{"t":"x"},{"i":99999999999999999999}]"#);
    let not_utf8 = "_____w".to_owned();
    let wrong_type = encoded(r#"[{"i":1},{"t":"1"}]"#);
    let null_id = encoded(r#"[{"t":"x"},"n"]"#);
    for token in
        ["".to_owned(), "%00".to_owned(), "x".repeat(1_000_000), deep, number_too_large, not_utf8]
            .into_iter()
            .chain([wrong_type, null_id, encoded("[]"), encoded("{}"), encoded("null")])
    {
        let shown: String = token.chars().take(40).collect();
        let request = world.service.query(Notes { by_text: true, token: Some(token) });
        let error = request.await.expect_err(&shown);
        assert_says(&error, ErrorKind::Invalid, &["cursor", "start from the first page"]);
        assert!(error.to_string().len() < 300, "a token is not repeated: {error}");
    }
    for body in [r#"[{"t":"'; DROP TABLE notes"},{"t":"\u0000"}]"#, r#"["n",{"t":""}]"#] {
        let (found, _) = notes(world, true, Some(encoded(body))).await;
        assert!(found.len() <= 3, "{found:?}");
    }
}

const TEXTS: [&str; 8] =
    ["", "\0", "a\0b", "a", "\u{1f}", "%_'\"\\;--", "\u{10ffff}\u{feff}", "\r\n\t\u{7f}"];

async fn text_of_every_kind_comes_back_as_it_was(world: &mut World) {
    let huge = "\u{1}".repeat(INDEXED_TEXT_BYTES_MAX / 2);
    for text in TEXTS.iter().copied().chain([huge.as_str()]) {
        let kept = world.service.send(keep(text, text)).await;
        assert_eq!(kept.unwrap(), text);
    }
    let (mut read, mut token) = (Vec::new(), None);
    loop {
        let (mut ids, next) = notes(world, true, token).await;
        read.append(&mut ids);
        token = next;
        if token.is_none() {
            break;
        }
    }
    let mut expected: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    expected.push(huge);
    expected.sort_unstable_by(|one, two| two.cmp(one));
    assert_eq!(read, expected);
}

async fn an_id_or_indexed_text_of_ten_kilobytes_is_refused_by_name(world: &mut World) {
    let huge = "i".repeat(10_000);
    // Counted twice, these are over the limit as well, on every store.
    let marks = "\u{1}\0".repeat(5000 / 2);
    let mixed = "x".repeat(INDEXED_TEXT_BYTES_MAX - 1) + "\0";
    for (command, field, bytes) in [
        (keep("a", &marks), "`text`", "10000 bytes"),
        (keep("a", &mixed), "`text`", "2049 bytes"),
        (keep(&mixed, ""), "`id`", "2049 bytes"),
    ] {
        let error = world.service.send(command).await.unwrap_err();
        assert_says(&error, ErrorKind::LimitExceeded, &[field, bytes, "2048", "count twice"]);
    }
    for (command, field) in [(keep(&huge, ""), "`id`"), (keep("a", &huge), "`text`")] {
        let error = world.service.send(command).await.unwrap_err();
        let words = [field, "`notes`", "10000 bytes", "2048", "use a shorter one"];
        assert_says(&error, ErrorKind::LimitExceeded, &words);
        assert!(error.to_string().len() < 400, "it is not repeated: {error}");
    }
}

async fn a_note_that_is_there_already_is_named(world: &mut World) {
    world.service.send(keep("a\0b", "1")).await.unwrap();
    let again = world.service.send(keep("a\0b", "2")).await;
    assert_fails(again, ErrorKind::AlreadyExists, &["notes/a\0b already exists"]);
}

async fn three_notes(world: &World) {
    for id in ["1", "2", "3"] {
        world.service.send(keep(id, id)).await.unwrap();
    }
}

async fn notes(
    world: &World,
    by_text: bool,
    token: Option<String>,
) -> (Vec<String>, Option<String>) {
    world.service.query(Notes { by_text, token }).await.unwrap()
}

/// As a caller would who knows how tokens are made.
fn encoded(json: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |bytes: &[u8]| {
        let at = |index: usize| u32::from(*bytes.get(index).unwrap_or(&0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let letter = |index: usize| {
            char::from(LETTERS[usize::try_from(bits >> (18 - 6 * index) & 63).unwrap()])
        };
        (0..=bytes.len()).map(letter).collect::<String>()
    };
    json.as_bytes().chunks(3).map(group).collect()
}
