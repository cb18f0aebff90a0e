//! How a worker runs commands and answers questions, by the public API only.

use mamey::Result;
use mamey::clock::Clock;

use super::{Worker, late};
use crate::domain::ShowBooks;
use crate::domain::accounts::{Open, ShowAccounts, Transfer};
use crate::domain::audit::ShowFindings;
use crate::protocol::{Answer, Contents, Depth, Question, Told};

/// How many dead letters are read in one call.
const DEAD_LETTERS_PER_CALL: u32 = 100;

impl Worker {
    pub(super) async fn open(&self, account: String, balance: i64) -> Answer {
        let key = account.clone();
        let command = Open { account, balance };
        match self.service.send(command).idempotency_key(&key).await {
            Ok(()) => Answer::Done { key, transferred: None },
            Err(error) => Answer::Failed { key, error: error.to_string() },
        }
    }

    pub(super) async fn transfer(&self, transfer: Transfer) -> Answer {
        let key = transfer.key.clone();
        match self.service.send(transfer).idempotency_key(&key).await {
            Ok(transferred) => Answer::Done { key, transferred: Some(transferred) },
            Err(error) => Answer::Failed { key, error: error.to_string() },
        }
    }

    pub(super) async fn tell(&self, question: Question) -> Result<Told> {
        match question {
            Question::Depth => self.depth().await.map(Told::Depth),
            Question::Contents => self.contents().await.map(Told::Contents),
            Question::Replay => self.replay().await.map(Told::Replayed),
            Question::DeleteLate => {
                let store = self.service.store("accounts")?;
                let (tried, deleted) = late::delete(&*store).await?;
                Ok(Told::DeletedLate { tried, deleted })
            }
        }
    }

    async fn depth(&self) -> Result<Vec<Depth>> {
        let mut depths = Vec::new();
        for context in &self.hosts {
            let store = self.service.store(context)?;
            let outbox = store.outbox_depth().await?;
            let age = outbox.oldest.map(|oldest| self.clock.now().duration_since(oldest));
            depths.push(Depth {
                context: context.clone(),
                outbox: outbox.records,
                parked: store.parked_count().await?,
                dead: store.dead_letter_count().await?,
                published: outbox.published,
                lag_ms: age.unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX),
            });
        }
        Ok(depths)
    }

    async fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        for context in &self.hosts {
            match context.as_str() {
                "accounts" => contents.accounts = self.service.query(ShowAccounts).await?,
                "ledger" => {
                    contents.ledger = self.service.context("ledger")?.query(ShowBooks).await?;
                }
                _ => {
                    contents.audit = self.service.context("audit")?.query(ShowBooks).await?;
                    contents.findings = self.service.query(ShowFindings).await?;
                }
            }
        }
        Ok(contents)
    }

    /// Replays all dead letters, and returns why each was one.
    async fn replay(&self) -> Result<Vec<String>> {
        let mut reasons = Vec::new();
        for context in &self.hosts {
            let store = self.service.store(context)?;
            let dead = store.dead_letters(None, DEAD_LETTERS_PER_CALL).await?;
            for letter in dead {
                let failure = letter.failure;
                reasons.push(failure.code.unwrap_or(failure.message));
                store.replay_dead_letter(letter.identity).await?;
            }
        }
        Ok(reasons)
    }
}
