//! Mistakes in `serves` are found at the start and named.

use mamey::message::{CatalogEntry, Direction};
use mamey::{BoundedContext, ErrorKind, ReadContext, Result, Service};

use crate::domain::{GetPrice, Price, Reserve, Secret};

async fn secret(_: Secret, _: &ReadContext) -> Result<()> {
    Ok(())
}

async fn get_price(_: GetPrice, cx: &ReadContext) -> Result<Price> {
    cx.request(Secret).to("catalog").await?;
    Ok(Price { cents: 0, correlation: String::new(), trace: String::new(), tenant: None })
}

#[tokio::test]
async fn serving_a_request_without_handler_is_refused_by_name() {
    let catalog = BoundedContext::new("catalog")
        .serves::<GetPrice>()
        .serves::<Reserve>()
        .serves::<Secret>()
        .query(secret);
    let error = Service::in_memory().host(catalog).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = error.to_string();
    for part in ["`catalog.get-price`", "`.query(…)`", "`catalog.reserve`", "`.command(…)`"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(!text.contains("catalog.secret"), "{text}");
}

#[tokio::test]
async fn serving_a_name_twice_is_refused() {
    let catalog =
        BoundedContext::new("catalog").query(secret).serves::<Secret>().serves::<Secret>();
    let error = Service::in_memory().host(catalog).start().await.unwrap_err();
    assert!(error.to_string().contains("two declarations of served request"), "{error}");
}

#[test]
fn the_catalog_lists_what_is_served() {
    let catalog = BoundedContext::new("catalog").query(secret).serves::<Secret>();
    let served = CatalogEntry::of::<Secret>(Direction::Serves);
    assert!(catalog.catalog().iter().any(|entry| *entry == served));
    assert!(catalog.catalog().to_string().contains("serves     catalog.secret v1"));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn a_scenario_without_other_contexts_says_so() {
    let catalog = BoundedContext::new("catalog").query(get_price);
    let mut scenario = mamey::testing::scenario(catalog).await;
    let outcome = scenario.when_query(GetPrice { sku: "tea".into() }).await;
    outcome.then_fails(ErrorKind::Unsupported);
}
