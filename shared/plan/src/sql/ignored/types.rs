//! Types in CAST and before literals: lengths that nothing would keep.

use datafusion::sql::sqlparser::ast::{DataType, ExactNumberInfo};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::{Checked, Walk};

impl Walk<'_> {
    pub(super) fn data_type(&self, data_type: &DataType, span: Span) -> Checked {
        use DataType::*;
        match data_type {
            Varchar(Some(_)) | Char(Some(_)) | String(Some(_)) => {
                let help = "a text has any length: write VARCHAR, and left(x, 3) for its first \
                            characters";
                self.unused(format!("the length of {data_type}"), help, span)
            }
            Float(ExactNumberInfo::Precision(_) | ExactNumberInfo::PrecisionAndScale(..)) => {
                self.unused(format!("{data_type}"), "write REAL, DOUBLE or DECIMAL(10, 2)", span)
            }
            TinyInt(Some(_))
            | SmallInt(Some(_))
            | Int2(Some(_))
            | Int(Some(_))
            | Integer(Some(_))
            | Int4(Some(_))
            | BigInt(Some(_))
            | Int8(Some(_))
            | TinyIntUnsigned(Some(_))
            | SmallIntUnsigned(Some(_))
            | Int2Unsigned(Some(_))
            | IntUnsigned(Some(_))
            | IntegerUnsigned(Some(_))
            | Int4Unsigned(Some(_))
            | BigIntUnsigned(Some(_))
            | Int8Unsigned(Some(_)) => {
                let help = "write the type without it: INT, BIGINT";
                self.unused(format!("the width of {data_type}"), help, span)
            }
            // All that they say is used, or the engine refuses them.
            Varchar(None)
            | Char(None)
            | String(None)
            | Float(ExactNumberInfo::None)
            | TinyInt(None)
            | SmallInt(None)
            | Int2(None)
            | Int(None)
            | Integer(None)
            | Int4(None)
            | BigInt(None)
            | Int8(None)
            | TinyIntUnsigned(None)
            | SmallIntUnsigned(None)
            | Int2Unsigned(None)
            | IntUnsigned(None)
            | IntegerUnsigned(None)
            | Int4Unsigned(None)
            | BigIntUnsigned(None)
            | Int8Unsigned(None) => Ok(()),
            Boolean
            | Bool
            | Real
            | Float4
            | Float8
            | Double(_)
            | DoublePrecision
            | Text
            | Date
            | Time(..)
            | Timestamp(..)
            | Numeric(_)
            | Decimal(_)
            | Bytea
            | Interval { fields: _, precision: _ }
            | Struct(..)
            | Array(_) => Ok(()),
            Table(_)
            | NamedTable { name: _, columns: _ }
            | Character(_)
            | CharacterVarying(_)
            | CharVarying(_)
            | Nvarchar(_)
            | Uuid
            | CharacterLargeObject(_)
            | CharLargeObject(_)
            | Clob(_)
            | Binary(_)
            | Varbinary(_)
            | Blob(_)
            | TinyBlob
            | MediumBlob
            | LongBlob
            | Bytes(_)
            | DecimalUnsigned(_)
            | BigNumeric(_)
            | BigDecimal(_)
            | Dec(_)
            | DecUnsigned(_)
            | FloatUnsigned(_)
            | UTinyInt
            | USmallInt
            | MediumInt(_)
            | MediumIntUnsigned(_)
            | Int16
            | Int32
            | Int64
            | Int128
            | Int256
            | HugeInt
            | UHugeInt
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | UInt128
            | UInt256
            | UBigInt
            | Signed
            | SignedInteger
            | Unsigned
            | UnsignedInteger
            | Float32
            | Float64
            | RealUnsigned
            | DoubleUnsigned(_)
            | DoublePrecisionUnsigned
            | Date32
            | Datetime(_)
            | Datetime64(..)
            | TimestampNtz(_)
            | JSON
            | JSONB
            | Regclass
            | TinyText
            | MediumText
            | LongText
            | FixedString(_)
            | Bit(_)
            | BitVarying(_)
            | VarBit(_)
            | Custom(..)
            | Map(..)
            | Tuple(_)
            | Nested(_)
            | Enum(..)
            | Set(_)
            | Union(_)
            | Nullable(_)
            | LowCardinality(_)
            | Unspecified
            | Trigger
            | AnyType
            | GeometricType(_)
            | TsVector
            | TsQuery => {
                let help = "types are BOOLEAN, INT, BIGINT, DOUBLE, DECIMAL(10, 2), VARCHAR, DATE, \
                            TIME, TIMESTAMP, BYTEA and INTERVAL";
                self.unused(format!("the type {data_type}"), help, span)
            }
        }
    }
}
