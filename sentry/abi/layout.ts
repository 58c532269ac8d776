// Struct layouts by C's rule on x86-64: each field at the next multiple of its alignment, the whole
// rounded up to the largest. Declared once, asserted beside the declaration.

export interface FieldType {
  readonly size: number;
  readonly align: number;
}

export const u8: FieldType = { size: 1, align: 1 };
export const u16: FieldType = { size: 2, align: 2 };
export const u32: FieldType = { size: 4, align: 4 };
export const i32: FieldType = u32;
export const u64: FieldType = { size: 8, align: 8 };
export const i64: FieldType = u64;

/** `count` elements of `type`. */
export function array(type: FieldType, count: number): FieldType {
  return { size: type.size * count, align: type.align };
}

/** Byte offset of every field by name, and the struct's `size` and `align`. */
export function layout<K extends string>(fields: Record<K, FieldType>): Record<K, number> & { size: number; align: number } {
  const offsets = {} as Record<string, number>;
  let at = 0;
  let align = 1;
  for (const [name, type] of Object.entries<FieldType>(fields)) {
    at = Math.ceil(at / type.align) * type.align;
    offsets[name] = at;
    at += type.size;
    align = Math.max(align, type.align);
  }
  offsets['size'] = Math.ceil(at / align) * align;
  offsets['align'] = align;
  return offsets as Record<K, number> & { size: number; align: number };
}
