//! What the database itself refuses.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::Fixture;
use reprieve_core::OperationKind;
use sea_orm::ConnectionTrait as _;

#[tokio::test]
async fn the_database_refuses_what_must_not_be() {
    let f = Fixture::new().await;
    let idle = f.active().await;
    let busy = f.active().await;
    f.admit(busy.id, OperationKind::Pause).await.unwrap();
    let (idle, busy) = (idle.id, busy.id);
    for (rule, sql) in [
        ("unknown state", format!("UPDATE instances SET vm_state = 'flying' WHERE id = '{idle}'")),
        ("unknown task", format!("UPDATE instances SET task_state = 'x' WHERE id = '{busy}'")),
        ("I5", format!("UPDATE instances SET task_state = NULL WHERE id = '{busy}'")),
        ("I5", format!("UPDATE instances SET task_state = 'pausing' WHERE id = '{idle}'")),
        ("deleted", format!("UPDATE instances SET vm_state = 'deleted' WHERE id = '{idle}'")),
        ("deleted", format!("UPDATE instances SET deleted_at = 1 WHERE id = '{idle}'")),
        ("power", format!("UPDATE instances SET power_state = 2 WHERE id = '{idle}'")),
        ("progress", format!("UPDATE instances SET progress = 101 WHERE id = '{idle}'")),
        ("lock", format!("UPDATE instances SET locked_by = 'me' WHERE id = '{idle}'")),
        ("number", "UPDATE instances SET number = 1".to_owned()),
        (
            "I1",
            format!(
                "UPDATE operations SET active_key = '{busy}', finished_at = NULL, \
                        state = 'running' WHERE instance_id = '{busy}'"
            ),
        ),
        ("I1", format!("UPDATE operations SET active_key = '{busy}' WHERE instance_id = '{idle}'")),
        ("ended", "UPDATE operations SET state = 'running' WHERE state = 'succeeded'".to_owned()),
        ("state", "UPDATE operations SET state = 'done'".to_owned()),
        ("orphan", "INSERT INTO outbox VALUES ('nothing', 'vm', 'run', 0, 0, 0)".to_owned()),
        ("in use", format!("DELETE FROM instances WHERE id = '{idle}'")),
    ] {
        let tx = f.store.begin().await.unwrap();
        let refused = tx.execute_unprepared(&sql).await;
        assert!(refused.is_err(), "{rule}: {sql}");
    }
    // The refusals were rolled back and the writer is free.
    assert_eq!(f.get(busy).await.task_state.unwrap().as_str(), "pausing");
    f.admit(idle, OperationKind::Pause).await.unwrap();
}
