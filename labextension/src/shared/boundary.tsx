import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Failure } from './states';

/** Keeps a fault of one section from taking the panel away. */
export class Boundary extends React.Component<
  React.PropsWithChildren<{ trans: TranslationBundle }>,
  { fault: unknown }
> {
  state: { fault: unknown } = { fault: null };

  static getDerivedStateFromError(fault: unknown): { fault: unknown } {
    return { fault };
  }

  render(): React.ReactNode {
    if (this.state.fault !== null) {
      return (
        <Failure
          trans={this.props.trans}
          fault={this.state.fault}
          again={() => this.setState({ fault: null })}
        />
      );
    }
    return this.props.children;
  }
}
