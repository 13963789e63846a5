//! The table itself: whether it can be a state table, and making one where no template does.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableDescription, TableStatus, TimeToLiveSpecification,
};
use aws_smithy_types::error::display::DisplayErrorContext;

use super::attempts::Patience;
use super::failure::{Call, Failure, KEYS_WANTED, Operation};
use super::layout::{EXPIRES_AT, PK, SK};
use crate::Fault;

/// The fault of `table`, if it has one: absent, not ready, or with other keys.
pub(super) async fn check(client: &Client, table: &str, patience: &Patience) -> Result<(), Fault> {
    let call = Call { operation: Operation::Describe, table, pk: "", sk: "", bytes: 0 };
    let describe = client.describe_table().table_name(table);
    let attempt = || {
        let sent = describe.clone().send();
        async { sent.await.map_err(|error| Failure::of(&error, &call)) }
    };
    let answer = patience.attempts(attempt).await.map_err(|failure| {
        let help = failure.help.unwrap_or_else(|| "check the network and try again".to_string());
        Fault::new(format!("the state table `{table}` cannot be used: {}", failure.what), help)
    })?;
    match answer.table {
        Some(description) => fits(table, &description),
        None => Err(Fault::new(
            format!("DynamoDB does not describe the state table `{table}`"),
            "check AWS_ENDPOINT_URL: perhaps something else answers there",
        )),
    }
}

/// Creates `table` as the template does, as far as an emulator needs it: on demand, with TTL. A
/// table of that name is left as it is.
pub(super) async fn create(client: &Client, table: &str) -> Result<(), Fault> {
    let fault = |what: String| {
        Fault::new(format!("the state table `{table}` cannot be created: {what}"), KEYS_WANTED)
    };
    let created = create_request(client, table).map_err(|error| fault(error.to_string()))?;
    match created.send().await {
        Ok(_) => {}
        Err(SdkError::ServiceError(answer))
            if matches!(answer.err(), CreateTableError::ResourceInUseException(_)) => {}
        Err(error) => return Err(fault(DisplayErrorContext(error).to_string())),
    }
    let ttl = TimeToLiveSpecification::builder().attribute_name(EXPIRES_AT).enabled(true).build();
    let ttl = ttl.map_err(|error| fault(error.to_string()))?;
    let update = client.update_time_to_live().table_name(table).time_to_live_specification(ttl);
    match update.send().await {
        Ok(_) => Ok(()),
        // Enabled before.
        Err(SdkError::ServiceError(answer)) if answer.raw().status().as_u16() == 400 => Ok(()),
        Err(error) => Err(fault(DisplayErrorContext(error).to_string())),
    }
}

fn create_request(
    client: &Client,
    table: &str,
) -> Result<aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder, BuildError>
{
    let mut request =
        client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, role) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(role).build()?;
        let definition = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()?;
        request = request.key_schema(key).attribute_definitions(definition);
    }
    Ok(request)
}

fn fits(table: &str, description: &TableDescription) -> Result<(), Fault> {
    let found = keys(description);
    if !has_keys(description) {
        return Err(Fault::new(
            format!("the table `{table}` has other keys than a state table: {}", found.join(", ")),
            KEYS_WANTED,
        ));
    }
    match description.table_status() {
        None | Some(TableStatus::Active | TableStatus::Updating) => Ok(()),
        Some(status) => Err(Fault::new(
            format!("the state table `{table}` is not ready: {}", status.as_str()),
            "wait until it is ACTIVE, or restore or create it",
        )),
    }
}

/// Whether the table's keys are `pk` and `sk`, both strings.
pub(crate) fn has_keys(description: &TableDescription) -> bool {
    keys(description) == [format!("{PK} HASH S"), format!("{SK} RANGE S")]
}

/// The table's keys, each as name, role and type: `pk HASH S`.
fn keys(description: &TableDescription) -> Vec<String> {
    let type_of = |name: &str| {
        let mut definitions = description.attribute_definitions().iter();
        let found = definitions.find(|definition| definition.attribute_name() == name);
        found.map_or("?", |definition| ScalarAttributeType::as_str(definition.attribute_type()))
    };
    let mut keys = description.key_schema().to_vec();
    keys.sort_by_key(|key| *key.key_type() != KeyType::Hash);
    keys.iter()
        .map(|key| {
            let name = key.attribute_name();
            format!("{name} {} {}", key.key_type().as_str(), type_of(name))
        })
        .collect()
}
