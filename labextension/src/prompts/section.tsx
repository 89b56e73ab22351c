import * as React from 'react';

import { ISectionProps } from '../panel/sections';
import { Answer } from '../shared/answer';
import { useAsked } from '../shared/asked';
import { Detail } from './detail';
import { IListState, List } from './list';
import { placeOf } from './place';

/** The prompts of the workspace; `item` is '', a name, name@3, name@alias or, to compare two versions, name@2..3. */
export default function Section(props: ISectionProps): React.JSX.Element {
  const { watched, host, trans, item, go } = props;
  const place = placeOf(item);
  const [state, setState] = React.useState<IListState>({
    filter: '',
    order: 'saved',
    opened: ''
  });
  // Whether somebody moved here within the section; else the focus stays where it is.
  const [moved, setMoved] = React.useState(false);
  if (place.name === '') {
    return (
      <All
        {...props}
        state={state}
        onState={setState}
        focus={moved}
        onOpen={name => {
          setMoved(true);
          setState({ ...state, opened: name });
          go('prompts', name);
        }}
      />
    );
  }
  return (
    <Detail
      key={place.name}
      watched={watched}
      host={host}
      trans={trans}
      place={place}
      go={go}
      focus={moved}
      onBack={() => {
        setMoved(true);
        setState({ ...state, opened: place.name });
        go('prompts');
      }}
    />
  );
}

function All(
  props: ISectionProps & {
    state: IListState;
    onState: (state: IListState) => void;
    onOpen: (name: string) => void;
    focus: boolean;
  }
): React.JSX.Element {
  const { watched, trans, state, onState, onOpen, focus } = props;
  const asked = useAsked(watched, ['prompts'], client => client.prompts());
  return (
    <Answer trans={trans} asked={asked}>
      {page => (
        <List
          trans={trans}
          prompts={page.items}
          state={state}
          onState={onState}
          onOpen={onOpen}
          focus={focus}
        />
      )}
    </Answer>
  );
}
