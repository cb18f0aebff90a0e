//! Gives a test a MongoDB database of its own.

use std::fmt;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::ClientOptions;
use tokio::sync::OnceCell;

use crate::Result;
use crate::cleanup::Cleanup;
use crate::name;
use crate::report::report;
use crate::server::{CONNECT_TIMEOUT, Server};
use crate::url::Url;

const MONGODB: Server = Server { name: "MongoDB", variable: "MAMEY_TEST_MONGODB_URL" };

/// The error code of a database that is being dropped already.
const DROP_PENDING: i32 = 215;

/// A database that one test owns; dropped with this, open transactions included.
pub struct Database {
    name: String,
    url: String,
    _cleanup: Cleanup,
}

impl Database {
    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL of which this is the default database, and whose sessions have its name.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Gives a database to one test. It is there once the test writes to it.
///
/// # Errors
///
/// Where the server is not there or does not let us.
pub async fn database() -> Result<Database> {
    let url = MONGODB.url()?;
    let admin = connect(&url).await?;
    sweep_once(&admin).await;
    let name = name::fresh();
    let (at, dropped) = (url.clone(), name.clone());
    let cleanup =
        Cleanup::new(&name, async move { drop_database(&connect(&at).await?, &dropped).await });
    Ok(Database { url: url_of(url, &name).to_text(), name, _cleanup: cleanup })
}

/// Drops the databases that killed runs left, and returns their names.
///
/// Making a namespace does this once per process already.
///
/// # Errors
///
/// Where the server is not there or one of them cannot be dropped.
pub async fn sweep() -> Result<Vec<String>> {
    sweep_with(&connect(&MONGODB.url()?).await?).await
}

async fn sweep_once(admin: &Client) {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let sweep = async {
        if let Err(error) = sweep_with(admin).await {
            report(&format!("what a killed run left stays: {}", error.in_full()));
        }
    };
    SWEPT.get_or_init(|| Box::pin(sweep)).await;
}

async fn sweep_with(admin: &Client) -> Result<Vec<String>> {
    let listed = admin.list_database_names().await;
    let mut names = listed.map_err(|error| MONGODB.refused("list databases", error))?;
    names.retain(|name| name::is_left_over(name));
    for name in &names {
        drop_database(admin, name).await?;
    }
    Ok(names)
}

/// The user is known to the database that the URL named before; say so, now that it names another.
fn url_of(url: Url, name: &str) -> Url {
    let knows_user = url.path().unwrap_or("admin").to_owned();
    let url = match url.has("authSource") {
        true => url,
        false => url.with("authSource", &knows_user),
    };
    url.with_path(name).with("appName", name)
}

async fn drop_database(admin: &Client, name: &str) -> Result<()> {
    end_transactions(admin, name).await?;
    match admin.database(name).drop().await {
        Ok(()) => Ok(()),
        // Another run's sweep was faster.
        Err(error) if is_command_error(&error, DROP_PENDING) => Ok(()),
        Err(error) => Err(MONGODB.refused("drop a database", error)),
    }
}

fn is_command_error(error: &DriverError, code: i32) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == code)
}

/// A transaction that nobody ends keeps its database from being dropped for a minute.
async fn end_transactions(admin: &Client, name: &str) -> Result<()> {
    let refused = |error: DriverError| MONGODB.refused("end transactions", error);
    let database = admin.database("admin");
    let open = doc! {
        "currentOp": true,
        "appName": name,
        "transaction": { "$exists": true },
    };
    let reply = database.run_command(open).await.map_err(refused)?;
    let operations = reply.get_array("inprog").map(Vec::as_slice).unwrap_or_default();
    let sessions: Vec<Document> = operations
        .iter()
        .filter_map(|operation| operation.as_document()?.get_document("lsid").ok())
        .map(|session| doc! { "lsid": session.clone() })
        .collect();
    if sessions.is_empty() {
        return Ok(());
    }
    database.run_command(doc! { "killAllSessionsByPattern": sessions }).await.map_err(refused)?;
    Ok(())
}

async fn connect(url: &Url) -> Result<Client> {
    let refused = |error: DriverError| match error.kind.as_ref() {
        ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) => MONGODB.unreachable(url, error),
        _ => MONGODB.refused("let us in", error),
    };
    // Boxed: the driver is large, and this future becomes part of every test that asks.
    let connecting = async {
        let mut options = ClientOptions::parse(url.to_text()).await.map_err(refused)?;
        options.server_selection_timeout = Some(CONNECT_TIMEOUT);
        let client = Client::with_options(options).map_err(refused)?;
        client.database("admin").run_command(doc! { "ping": 1 }).await.map_err(refused)?;
        Ok(client)
    };
    MONGODB.within_timeout(url, Box::pin(connecting)).await
}
