import { z } from "zod";

type Check = (value: unknown) => boolean;
type Def = z.core.$ZodTypeDef & { checks?: z.core.$ZodCheck[] };

/**
 * A quick test for what comes in masses: true only for a value that the schema accepts and gives back just as it is, with every key
 * there and in the schema's order; whatever else is for the schema itself to judge. Made from the schema, so it cannot drift from it;
 * of a schema with something in it that is not known here it is never true.
 */
export function acceptsAsIs<T extends z.ZodType>(schema: T): (value: unknown) => value is z.output<T> {
  return checkOf(schema) as (value: unknown) => value is z.output<T>;
}

const never: Check = () => false;

function checkOf(schema: z.core.$ZodType): Check {
  const def = schema._zod.def as Def;
  const base = baseOf(schema);
  const all = (def.checks ?? []).map(limitOf);
  const [first, second, ...more] = all;
  if (first === undefined) return base;
  if (second === undefined) return (value) => base(value) && first(value);
  if (more.length === 0) return (value) => base(value) && first(value) && second(value);
  return (value) => base(value) && all.every((check) => check(value));
}

function baseOf(schema: z.core.$ZodType): Check {
  if (schema instanceof z.core.$ZodNullable) {
    const inner = checkOf(schema._zod.def.innerType);
    return (value) => value === null || inner(value);
  }
  // What is left out is filled in by the schema: then the value is not as it is any more.
  if (schema instanceof z.core.$ZodDefault || schema instanceof z.core.$ZodPrefault)
    return defined(checkOf(schema._zod.def.innerType));
  if (schema instanceof z.core.$ZodObject) return objectOf(schema);
  if (schema instanceof z.core.$ZodArray) {
    const element = checkOf(schema._zod.def.element);
    return (value) => {
      if (!Array.isArray(value)) return false;
      // Not by `every`, which passes over what a list with holes lacks.
      for (const each of value as unknown[]) if (!element(each)) return false;
      return true;
    };
  }
  if (schema instanceof z.core.$ZodRecord) return recordOf(schema);
  if (schema instanceof z.core.$ZodEnum) {
    const values = schema._zod.values;
    return (value) => values.has(value as string);
  }
  if (schema instanceof z.core.$ZodBoolean && schema._zod.def.coerce !== true)
    return (value) => typeof value === "boolean";
  if (schema instanceof z.core.$ZodNumber && schema._zod.def.coerce !== true)
    return schema instanceof z.core.$ZodNumberFormat ? never : (value) => Number.isFinite(value);
  if (schema instanceof z.core.$ZodISODateTime) return matches(schema._zod.def.pattern);
  if (schema instanceof z.core.$ZodStringFormat) return never;
  if (schema instanceof z.core.$ZodString && schema._zod.def.coerce !== true)
    return (value) => typeof value === "string";
  return never;
}

function defined(inner: Check): Check {
  return (value) => value !== undefined && inner(value);
}

function objectOf(schema: z.core.$ZodObject): Check {
  const { shape, catchall } = schema._zod.def;
  if (catchall !== undefined) return never;
  const keys = Object.keys(shape);
  const checks = Object.values(shape).map(checkOf);
  return (value) => {
    if (typeof value !== "object" || value === null) return false;
    let i = 0;
    for (const key in value) {
      const check = checks[i];
      if (key !== keys[i++] || check === undefined || !check((value as Record<string, unknown>)[key])) return false;
    }
    return i === keys.length;
  };
}

function recordOf(schema: z.core.$ZodRecord): Check {
  const { keyType, valueType } = schema._zod.def;
  const [isKey, isValue] = [checkOf(keyType), checkOf(valueType)];
  return (value) => {
    // No instance of a class: of such a one the schema makes another judgement.
    if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false;
    for (const key in value) {
      if (key === "__proto__" || !isKey(key) || !isValue((value as Record<string, unknown>)[key])) return false;
    }
    return true;
  };
}

/** A limit on a value whose type was checked before. */
function limitOf(check: z.core.$ZodCheck): Check {
  if (check._zod.def.abort === true) return never;
  if (check instanceof z.core.$ZodCheckNumberFormat)
    return check._zod.def.format === "safeint" ? (value) => Number.isSafeInteger(value) : never;
  if (check instanceof z.core.$ZodCheckGreaterThan) {
    const { value: limit, inclusive } = check._zod.def;
    return (value) => (inclusive ? (value as number) >= (limit as number) : (value as number) > (limit as number));
  }
  if (check instanceof z.core.$ZodCheckLessThan) {
    const { value: limit, inclusive } = check._zod.def;
    return (value) => (inclusive ? (value as number) <= (limit as number) : (value as number) < (limit as number));
  }
  if (check instanceof z.core.$ZodCheckMinLength) {
    const { minimum } = check._zod.def;
    return (value) => (value as string).length >= minimum;
  }
  if (check instanceof z.core.$ZodCheckMaxLength) {
    const { maximum } = check._zod.def;
    return (value) => (value as string).length <= maximum;
  }
  if (check instanceof z.core.$ZodCheckRegex) return matches(check._zod.def.pattern);
  return never;
}

function matches(pattern: RegExp | undefined): Check {
  if (pattern === undefined || pattern.global || pattern.sticky) return never;
  return (value) => typeof value === "string" && pattern.test(value);
}
