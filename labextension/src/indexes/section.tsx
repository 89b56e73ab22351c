import * as React from 'react';

import { ISectionProps } from '../panel/sections';
import { Loading } from '../shared/states';

export default function Section(props: ISectionProps): React.JSX.Element {
  return <Loading trans={props.trans} />;
}
