/* Typed columns of the server's answers: numbers are little-endian bytes in base64. Pure: runs in a browser and in Node. */

/** @typedef {import('../generated/types').Float32Column} Float32Column */
/** @typedef {import('../generated/types').Float64Column} Float64Column */
/** @typedef {import('../generated/types').Int32Column} Int32Column */
/** @typedef {import('../generated/types').Uint8Column} Uint8Column */

/** @typedef {import('../generated/types').TextColumn} TextColumn */
/**
 * An answer with its columns as lists.
 *
 * @template T
 * @typedef {T extends TextColumn ? string[] : T extends Float32Column | Float64Column | Int32Column | Uint8Column ? number[]
 *   : T extends object ? { [Key in keyof T]: Unpacked<T[Key]> } : T} Unpacked
 */

const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

/**
 * The values of a column of numbers; NaN where a value is unknown.
 *
 * @overload
 * @param {Float32Column} column
 * @returns {Float32Array}
 */
/**
 * @overload
 * @param {Float64Column} column
 * @returns {Float64Array}
 */
/**
 * @overload
 * @param {Int32Column} column
 * @returns {Int32Array}
 */
/**
 * @overload
 * @param {Uint8Column} column
 * @returns {Uint8Array}
 */
/**
 * @param {Float32Column | Float64Column | Int32Column | Uint8Column} column
 * @returns {Float32Array | Float64Array | Int32Array | Uint8Array}
 */
export function numbers({ dtype, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new ARRAYS[dtype](bytes.buffer);
}

/** An answer with its columns as lists, as charts and tables take them. @template T @param {T} answer @returns {Unpacked<T>} */
export const unpack = (answer) => /** @type {Unpacked<T>} */ (unpacked(answer));

/** @param {unknown} value @returns {unknown} */
function unpacked(value) {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(unpacked);
  if ('dtype' in value) return value.dtype === 'text' ? Reflect.get(value, 'data') : [...numbers(/** @type {any} */ (value))];
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, unpacked(part)]));
}

/** All columns of an object. @template {Record<string, Float32Column>} Columns @param {Columns} columns */
export const decode = (columns) => /** @type {{ [name in keyof Columns]: Float32Array }} */ (
  Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, numbers(column)])));
