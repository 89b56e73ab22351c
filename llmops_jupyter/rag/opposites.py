"""Words that turn a sentence round when one takes the other's place; all forms of a word count."""

from __future__ import annotations

_TEXT = """
increase raise rise grow higher elevate | decrease reduce lower fall drop decline
more | less fewer
above over | below under
before | after
always | never
all every | none
allow permit | forbid prohibit deny
enable | disable
open | close shut
start begin | stop end finish
first | last
earlier | later
minimum least | maximum most
true | false
inside | outside
left | right
north northern | south southern
east eastern | west western
day daytime | night
morning | evening
hot warm | cold
public | private
required mandatory | optional
local | remote
success succeed | failure fail
accept approve | reject refuse
include | exclude
add | remove delete
positive | negative
better improve | worse worsen
best | worst
faster quicker | slower
fast quick | slow
newer | older
new | old
early | late
win won gain | lose lost
buy bought | sell sold
import | export
encrypt | decrypt
connect | disconnect
install | uninstall
safe | dangerous unsafe
strong stronger | weak weaker
long longer | short shorter
large larger big bigger | small smaller
heavy heavier | light lighter
wide wider | narrow narrower
deep | shallow
thick | thin
full | empty
wet | dry
rich | poor
male | female
internal | external
upper | lower
input | output
read | write
send | receive
sync synchronous | async asynchronous
automatic automatically | manual manually
permanent | temporary
legal | illegal
possible | impossible
agree | disagree
cause | prevent
activate | inhibit deactivate
promote | suppress
present | absent
same equal | different
even | odd
horizontal | vertical
clockwise | counterclockwise anticlockwise
ascending | descending
"""

PAIRS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = tuple(
    (tuple(one.split()), tuple(other.split()))
    for one, other in (line.split("|") for line in _TEXT.strip().splitlines())
)
