/** A value at once, or a promise of it. */
export type MaybePromise<T> = T | Promise<T>

/** Whether `value` has to be awaited. */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return value !== null && typeof value === 'object' && typeof (value as { then?: unknown }).then === 'function'
}

/** Goes on with `value` as soon as it is there: in the same tick where it is there already. */
export function chain<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return isPromise(value) ? value.then(next) : next(value)
}
