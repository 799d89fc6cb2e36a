/* What a browser page has beside its modules: plotly's script, loaded when the first chart is drawn. */

export interface PlotlyElement extends HTMLDivElement {
  on(event: string, listener: (event: any) => void): void;
  readonly data?: Record<string, any>[];
  readonly _fullLayout?: Record<string, any>;
}

declare global {
  interface Window {
    Plotly: {
      react(node: HTMLElement, traces: object[], layout: object, config?: object): Promise<PlotlyElement>;
      extendTraces(node: HTMLElement, update: object, indices: number[]): Promise<PlotlyElement>;
      relayout(node: HTMLElement, update: object): Promise<PlotlyElement>;
      purge(node: HTMLElement): void;
    };
  }
}
