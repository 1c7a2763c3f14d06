/** Loaded before the page's own script. */
declare const uPlot: new (
  options: object,
  data: readonly (readonly (number | null)[])[],
  target: HTMLElement,
) => {
  readonly cursor: { readonly idx: number | null | undefined }
  setData(data: readonly (readonly (number | null)[])[]): void
  setSize(size: { width: number; height: number }): void
  destroy(): void
}
