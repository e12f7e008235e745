//! Policies of endings: a row for each choice of an operator, beside the documents that say the same in their words. The
//! statements that end something read them ([`choice!`]), so that a choice that was acknowledged holds for every ending
//! that begins after it.

use curfew_model::{ClientId, EndingPolicies, Failure, TenantId};

use crate::{Tx, params, statements};

/// What was chosen for the client of a row, or for the tenant, or else a default: `choice!(families, "$5", "sessions",
/// "'keep'")` where `$5` is the cause.
macro_rules! choice {
    ($row:ident, $cause:literal, $artefact:literal, $default:literal) => {
        concat!(
            "coalesce((select p.choice from ending_policies p where p.tenant = ",
            stringify!($row),
            ".tenant and p.cause = ",
            $cause,
            " and p.client_id = ",
            stringify!($row),
            ".client_id and p.artefact = '",
            $artefact,
            "'), (select p.choice from ending_policies p where p.tenant = ",
            stringify!($row),
            ".tenant and p.cause = ",
            $cause,
            " and p.client_id = '' and p.artefact = '",
            $artefact,
            "'), ",
            $default,
            ")"
        )
    };
}
pub(crate) use choice;

statements! {
    INSERT = "insert into ending_policies (tenant, cause, client_id, artefact, choice) values ($1, $2, $3, $4, $5)";
    /// Every choice.
    pub(crate) EVERY = "select tenant, client_id, cause, artefact, choice from ending_policies";
    /// What one owner had chosen; also when a client is deleted.
    pub(crate) CLEAR = "delete from ending_policies where tenant = $1 and client_id = $2";
}

/// Replaces what the tenant (`client` is `None`) or a client has chosen. The caller wrote its row before, and its document
/// in the same transaction.
pub async fn replace(
    tx: &mut Tx,
    tenant: TenantId,
    client: Option<&ClientId>,
    policies: &EndingPolicies,
) -> Result<(), Failure> {
    let owner = client.map_or("", ClientId::as_str);
    tx.run(&CLEAR, params![tenant, owner]).await?;
    for (cause, artefact, choice) in policies.iter() {
        tx.run(&INSERT, params![tenant, cause, owner, artefact, choice.as_str()]).await?;
    }
    Ok(())
}
