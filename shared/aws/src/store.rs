//! The state in a DynamoDB table.
