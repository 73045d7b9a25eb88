//! Listing operations across servers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Fixture, new_instance, seen};
use reprieve_core::{OperationKind as K, PowerState};
use reprieve_store::{OperationQuery, OperationState};

#[tokio::test]
async fn operations_are_listed_newest_first_and_filtered() {
    let f = Fixture::new().await;
    let mine = f.active().await.id;
    let mut other = new_instance("other");
    other.project_id = "elsewhere".into();
    let theirs = f.create(other).await.id;
    f.done(mine, K::Pause, seen(PowerState::Paused)).await;
    f.admit(mine, K::Unpause).await.unwrap();

    let list = async |query: OperationQuery| {
        let query = OperationQuery { limit: query.limit.min(100), ..query };
        f.store.operations(&query).await.unwrap()
    };
    let every = || OperationQuery { limit: 100, ..OperationQuery::default() };
    let names = |list: &[reprieve_store::OperationRecord]| -> Vec<String> {
        list.iter().map(|operation| operation.action.clone()).collect()
    };
    let all = list(every()).await;
    assert_eq!(names(&all), ["unpause", "pause", "create", "create"]);
    let of_project = OperationQuery { project: Some("demo".into()), ..every() };
    assert_eq!(names(&list(of_project.clone()).await), ["unpause", "pause", "create"]);
    let of_server = OperationQuery { instance: Some(theirs), ..every() };
    assert_eq!(names(&list(of_server.clone()).await), ["create"]);
    let both = OperationQuery { instance: Some(theirs), ..of_project };
    assert!(list(both).await.is_empty());
    let open = [OperationState::Pending, OperationState::Dispatched];
    let unfinished = OperationQuery { states: open.to_vec(), ..every() };
    assert_eq!(names(&list(unfinished).await), ["unpause", "create"]);
    let pauses = OperationQuery { action: Some("pause".into()), ..every() };
    assert_eq!(list(pauses).await[0].state, OperationState::Succeeded);
    let first = list(OperationQuery { limit: 1, ..every() }).await;
    assert_eq!(names(&first), ["unpause"]);
    let page = OperationQuery { marker: Some(first[0].id), limit: 2, ..every() };
    assert_eq!(names(&list(page).await), ["pause", "create"]);
}
