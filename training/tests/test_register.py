import unittest

from support import InFolder

from problem import Problem
from register import named, read, register


class Names(unittest.TestCase):
    def check(self, before, champion, after):
        self.assertEqual(named(before, "m/2", champion), after)

    def test_a_challenger_is_added_to_whatever_is_there(self):
        self.check("", False, "challengers: [m/2]\n")
        self.check("# why\nchampion: m/1", False, "# why\nchampion: m/1\nchallengers: [m/2]\n")
        self.check("challengers: [a/1]  # two\nchampion: m/1\n", False, "challengers: [a/1, m/2]  # two\nchampion: m/1\n")
        self.check("challengers: []\n", False, "challengers: [m/2]\n")
        self.check("challengers:\n", False, "challengers:\n  - m/2\n")
        self.check(
            "challengers:\n    - a/1 # one\n    # more\n    - b/1\nchampion: m/1\n",
            False,
            "challengers:\n    - a/1 # one\n    # more\n    - b/1\n    - m/2\nchampion: m/1\n",
        )
        self.check("challengers:\n- a/1", False, "challengers:\n- a/1\n- m/2\n")
        self.check("challengers: [m/2]\n", False, "challengers: [m/2]\n")

    def test_a_champion_takes_the_place_of_the_one_there_is(self):
        self.check("", True, "champion: m/2\n")
        self.check("# why\nchampion: m/1 # good\n", True, "# why\nchampion: m/2 # good\n")
        self.check('champion: "m/1"\nchallengers: [m/2, a/1]\n', True, "champion: m/2\nchallengers: [a/1]\n")
        self.check("champion: m/1\nchallengers:\n  - a/1\n  - m/2\n", True, "champion: m/2\nchallengers:\n  - a/1\n")

    def test_what_cannot_be_changed_safely_is_left_alone(self):
        for text in ("{champion: m/1}\n", "champion: [\n", "- a\n"):
            with self.assertRaises(Problem, msg=text):
                named(text, "m/2", True)
        with self.assertRaisesRegex(Problem, "is the champion"):
            named("champion: m/2\n", "m/2", False)


class Files(InFolder):
    def test_only_what_is_there_is_registered(self):
        with self.assertRaisesRegex(Problem, "no bundle"):
            register(self.folder, "m/2")
        bundle = self.folder / "models" / "m" / "2"
        bundle.mkdir(parents=True)
        (bundle / "manifest.yaml").write_text("")
        register(self.folder, "m/2")
        self.assertEqual(read((self.folder / "models.yaml").read_text()), {"champion": None, "challengers": ["m/2"]})
        self.assertEqual([path.name for path in self.folder.iterdir() if path.is_file()], ["models.yaml"])


if __name__ == "__main__":
    unittest.main()
