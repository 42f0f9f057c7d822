/** The fields of a put in JSON, alone as well as in a transaction, and how keys and values look. */
import {fieldSet, type JsonSchema} from './json-schema.ts';
import {leaseIdSchema, ttlSchema} from './lease-fields.ts';

export const keySchema: JsonSchema = {
  type: 'string',
  minLength: 1,
  description: 'The key: text, or bytes as keyEncoding says; 1 to 1024 bytes',
};
export const valueSchema: JsonSchema = {
  type: 'string',
  description: 'The value: text, or bytes as encoding says; at most 1,572,864 bytes',
};
export const encodingSchema: JsonSchema = {
  type: 'string',
  enum: ['utf8', 'base64'],
  default: 'utf8',
};

export const putFields = fieldSet({
  required: {key: keySchema, value: valueSchema},
  optional: {
    ttl: ttlSchema,
    lease: leaseIdSchema,
    encoding: encodingSchema,
    keyEncoding: encodingSchema,
  },
});

/** Of a get and of a delete. */
export const keyOnlyFields = fieldSet({
  required: {key: keySchema},
  optional: {keyEncoding: encodingSchema},
});
