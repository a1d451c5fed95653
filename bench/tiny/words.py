"""The words of the tiny language."""

from __future__ import annotations

FIRST = (
    "Anna Boris Clara David Elena Felix Greta Hugo Ines Jonas Karin Leo Maria Nils Olga Pavel Rosa"
    " Simon Tanja Urs Vera Willem Xenia Yuri"
).split()
LAST = (
    "Adler Berg Castro Dahl Evers Falk Grimm Holm Ivanov Jansen Koch Lind Moreau Novak Olsen Peters"
    " Quist Rossi Sato Thorne Ulrich Varga Weber Zeller"
).split()
CITIES = (
    "Athens Berlin Cairo Dublin Geneva Havana Lisbon London Madrid Moscow Oslo Paris Prague Rome"
    " Tokyo Vienna".split()
)
JOBS = (
    "actor baker carpenter doctor farmer judge lawyer miner nurse painter pilot poet sailor singer"
    " tailor teacher".split()
)
PETS = (
    "camel canary cat dog donkey duck goat goose hamster horse lizard monkey parrot rabbit snake"
    " turtle".split()
)
NOUNS = (
    "apple bell boat book bread bridge chair cloud coat door egg field fire fish flower forest"
    " garden glass gold grass hammer hand hill house island key lake lamp letter moon mountain"
    " night paper rain ring river road salt ship silver snow star stone storm table tree window"
    " wood"
).split()
FOREIGN = (
    "abo ado aki alu amo ani aro asu ebo eda eki ela emu eno era eso ibu ida iko ila imo inu ira"
    " isa obi odu oka olu oma oni ore osu uba udo uka uli umo una uri uso zabo zeda ziko zola zumi"
    " zano zeru ziso"
).split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
