//! One document in one unit of work: what a handler does in a row has the result that it has on paper.

use std::sync::Arc;

use mamey_core::clock::SystemClock;
use mamey_core::context::{Cause, Context, Scope};
use mamey_core::criteria::{Collection, Value};
use mamey_core::domain::{Aggregate, Versioned};
use mamey_core::id::SequentialIds;
use mamey_core::message::{Catalog, ContextName};
use mamey_core::store::{Change, Expected, Store, Write};
use mamey_core::transport::Unconnected;
use mamey_core::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::fixture::{NOTES, commit, load_note, text, writes};
use super::harness::StoreHarness;

#[derive(Serialize, Deserialize)]
struct Note {
    id: String,
    body: String,
}

impl Aggregate for Note {
    type Id = String;

    const COLLECTION: &'static Collection = &NOTES;

    fn id(&self) -> &String {
        &self.id
    }

    fn index_values(&self) -> Vec<Value> {
        Vec::new()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Add,
    Load,
    Save,
    Guard,
    Remove,
}

const STEPS: [Step; 5] = [Step::Add, Step::Load, Step::Save, Step::Guard, Step::Remove];

/// The document as one would draw it: what the unit sees, how it will be stored, and how the unit ends.
struct Paper {
    stored: bool,
    body: Option<String>,
    puts: bool,
    ends: Option<ErrorKind>,
}

impl Paper {
    fn step(&mut self, step: Step, body: &str) {
        self.ends = match (step, &self.body) {
            (Step::Add, Some(_)) => Some(ErrorKind::AlreadyExists),
            (Step::Save, None) => Some(ErrorKind::NotFound),
            _ => None,
        };
        match step {
            Step::Add | Step::Save => (self.body, self.puts) = (Some(body.to_owned()), true),
            Step::Remove => self.body = None,
            Step::Load | Step::Guard => {}
        }
    }

    fn version(&self) -> u64 {
        1 + u64::from(self.stored && self.puts)
    }
}

/// All pairs and triples of adding, loading, saving, guarding and removing one document, fresh or
/// stored, in one unit of work.
pub async fn steps_on_one_document_have_their_result_on_paper(harness: StoreHarness) {
    let store = harness.store().await;
    let mut rows: Vec<Vec<Step>> = Vec::new();
    for one in STEPS {
        for two in STEPS {
            rows.push(vec![one, two]);
            rows.extend(STEPS.map(|three| vec![one, two, three]));
            // What was loaded of the unit's own addition.
            rows.push(vec![Step::Add, Step::Load, one, two]);
        }
    }
    for (number, row) in rows.iter().enumerate() {
        for stored in [false, true] {
            check(&store, &format!("{number} {stored}"), stored, row).await;
        }
    }
}

/// What a handler does in one unit with one document.
struct Handler {
    cx: Context,
    id: String,
    loaded: Option<Versioned<Note>>,
}

impl Handler {
    fn note(&self, body: &str) -> Note {
        Note { id: self.id.clone(), body: body.to_owned() }
    }

    /// What was not loaded cannot be saved, guarded or removed.
    fn can(&self, step: Step) -> bool {
        matches!(step, Step::Add | Step::Load) || self.loaded.is_some()
    }

    async fn step(&mut self, step: Step, body: &str, paper: &Paper) -> Result<()> {
        let notes = self.cx.repository::<Note>();
        match (step, &mut self.loaded) {
            (Step::Add, _) => notes.add(&self.note(body)),
            (Step::Load, loaded) => {
                let found = notes.get(&self.id).await?;
                assert_eq!(found.as_ref().map(|it| &it.body), paper.body.as_ref());
                if found.is_some() {
                    *loaded = found;
                }
                Ok(())
            }
            (Step::Save, Some(loaded)) => {
                body.clone_into(&mut loaded.body);
                notes.save(loaded)
            }
            (Step::Guard, Some(loaded)) => notes.guard(loaded),
            (Step::Remove, Some(loaded)) => notes.remove(loaded),
            (_, None) => Ok(()),
        }
    }
}

async fn check(store: &Arc<dyn Store>, id: &str, stored: bool, row: &[Step]) {
    let mut handler = Handler { cx: context(store), id: id.to_owned(), loaded: None };
    let mut paper =
        Paper { stored, body: stored.then(|| "stored".to_owned()), puts: false, ends: None };
    if stored {
        let data = serde_json::to_vec(&handler.note("stored")).unwrap().into();
        let change = Change::Put { data, index: Vec::new() };
        commit(&**store, writes([Write::new(&NOTES, text(id), Expected::Absent, change)])).await;
        handler.loaded = handler.cx.repository().get(&handler.id).await.unwrap();
    }
    let mut ended = Ok(());
    for (number, step) in row.iter().enumerate() {
        let body = number.to_string();
        if ended.is_ok() && paper.ends.is_none() && handler.can(*step) {
            ended = handler.step(*step, &body, &paper).await;
            paper.step(*step, &body);
        }
    }
    if ended.is_ok() {
        ended = store.commit(handler.cx.take_unit().unwrap()).await.map(drop);
    }
    let context = format!("{row:?}, stored before: {stored}");
    assert_eq!(ended.err().map(|error| error.kind()), paper.ends, "{context}");
    let found = load_note(&**store, id).await;
    let found = found.map(|found| {
        let note: Note = serde_json::from_slice(&found.data).unwrap();
        (found.version, note.body)
    });
    let expected = match paper.ends {
        None => paper.body.as_ref().map(|body| (paper.version(), body.clone())),
        Some(_) => stored.then(|| (1, "stored".to_owned())),
    };
    assert_eq!(found, expected, "{context}");
}

fn context(store: &Arc<dyn Store>) -> Context {
    let scope = Scope::new(
        ContextName::new("orders").unwrap(),
        Arc::clone(store),
        Arc::new(SystemClock),
        Arc::new(SequentialIds::default()),
        Catalog::default(),
        Arc::new(Unconnected),
    );
    Context::new(Arc::new(scope), Cause::default())
}
