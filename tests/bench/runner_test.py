#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bench/run takes for a result, and for worse than before; and what bench/profile makes of stacks."""
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), 'bench')
sys.path.insert(0, BENCH)
from runner import baseline, chart, programs, report, results, rows, stacks  # noqa: E402
from runner.rows import Row  # noqa: E402


def result_of(*measured):
    return {'date': 'today', 'machine': {'cpu': 'c', 'cores': 2, 'memory_mib': 1, 'kernel': 'k', 'file_system': 'ext4', 'rsync': '3'},
            'commit': 'abc', 'clean': True, 'load_before': [0, 0, 0], 'load_after': [1, 1, 1], 'seconds': 3, 'rows': list(measured)}


class Refusing(unittest.TestCase):
    def refused(self, *measured):
        with self.assertRaises(results.Refused) as caught:
            results.check('some', list(measured))
        return str(caught.exception)

    def test_three_repeats_after_a_warm_up_are_a_result(self):
        results.check('some', [Row('a', 1.5, 's', repeats=3, warmup=1)])

    def test_an_exact_count_is_a_result(self):
        results.check('some', [Row('a', 7, 'bytes', exact=True)])

    def test_others_are_refused_by_name(self):
        self.assertIn('"a" does not say', self.refused(Row('a', 1, 's')))
        self.assertIn('"b" was measured 2 times', self.refused(Row('a', 1, 's', repeats=3, warmup=1), Row('b', 1, 's', repeats=2, warmup=1)))
        self.assertIn('"c" was measured without warm-up', self.refused(Row('c', 1, 's', repeats=5)))
        self.assertIn('no row', self.refused())

    def test_a_name_stands_for_one_row(self):
        self.assertIn('more than once', self.refused(Row('a', 1, '', exact=True), Row('a', 2, '', exact=True)))


class Reading(unittest.TestCase):
    def test_what_the_scenarios_print_is_read(self):
        library = os.path.join(BENCH, 'scenarios', 'lib.sh')
        script = f'''. {library}
            rows=(); rounds=5; warmed_up=1
            row "time" 1.5 s 2; row "speed" 6 x ">=7"; TOLERANCE=0.02 count "sent" 100 bytes; peer_row "rsync" 3 s
            finish'''
        ended = subprocess.run(['bash', '-c', script, 'bash'], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(ended.returncode, programs.BEYOND_A_LIMIT)
        read = [row for row in map(rows.from_line, ended.stdout.splitlines()) if row]
        self.assertEqual(read, [Row('time', 1.5, 's', limit=2, repeats=5, warmup=1), Row('speed', 6, 'x', least=7, repeats=5, warmup=1),
                                Row('sent', 100, 'bytes', exact=True, tolerance=0.02),
                                Row('rsync', 3, 's', repeats=5, warmup=1, peer=True)])
        self.assertEqual([row.is_beyond for row in read], [False, True, False, False])

    def test_rounds_are_compared_with_their_peers_and_the_first_is_dropped(self):
        library = os.path.join(BENCH, 'scenarios', 'lib.sh')
        script = f'''. {library}
            one() {{ keep ours $((round * 10 + 10)); keep peer 20; }}
            every_round one
            median_of ours; median_ratio ours peer'''
        said = subprocess.run(['bash', '-c', script, 'bash'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                              env={**os.environ, 'ROUNDS': '3'})
        self.assertEqual(said.stdout.split(), ['30', '1.500'])

    def test_medians_are_taken_of_the_json_of_google_benchmark(self):
        entry = {'run_name': 'f/1/real_time', 'family_index': 0, 'per_family_instance_index': 0, 'repetitions': 5, 'time_unit': 'ns',
                 'real_time': 20.0, 'cpu_time': 10.0}
        document = {'benchmarks': [
            {**entry, 'name': 'f_mean', 'aggregate_name': 'mean'},
            {**entry, 'name': 'g', 'run_name': 'g', 'family_index': 1, 'aggregate_name': 'median', 'bytes_per_second': 2.0 ** 30},
            {**entry, 'name': 'f', 'aggregate_name': 'median'}]}
        self.assertEqual(programs.rows_of_json(document), [
            Row('f/1', 20.0, 'ns', repeats=5, warmup=1), Row('g', 10.0, 'ns', repeats=5, warmup=1),
            Row('g: bytes', 1.0, 'GiB/s', repeats=5, warmup=1)])


class Comparing(unittest.TestCase):
    def worse(self, before, now, tolerance=0.1, count_tolerance=0.0):
        compared = baseline.compare({'p': result_of(before)}, {'p': result_of(now)}, tolerance, count_tolerance)
        return [each.is_worse for each in compared]

    def test_time_has_a_tolerance(self):
        before = Row('t', 1.0, 's', repeats=3, warmup=1)
        self.assertEqual(self.worse(before, Row('t', 1.09, 's', repeats=3, warmup=1)), [False])
        self.assertEqual(self.worse(before, Row('t', 1.11, 's', repeats=3, warmup=1)), [True])
        self.assertEqual(self.worse(before, Row('t', 0.2, 's', repeats=3, warmup=1)), [False])

    def test_less_is_worse_of_a_speed(self):
        before = Row('v', 10.0, 'GiB/s', repeats=3, warmup=1)
        self.assertEqual(self.worse(before, Row('v', 8.0, 'GiB/s', repeats=3, warmup=1)), [True])
        self.assertEqual(self.worse(before, Row('v', 20.0, 'GiB/s', repeats=3, warmup=1)), [False])

    def test_counts_are_exact_unless_they_say_otherwise(self):
        before = Row('n', 100, 'bytes', exact=True)
        self.assertEqual(self.worse(before, Row('n', 101, 'bytes', exact=True)), [True])
        self.assertEqual(self.worse(before, Row('n', 101, 'bytes', exact=True), count_tolerance=0.01), [False])
        loose = Row('n', 100, 'bytes', exact=True, tolerance=0.05)
        self.assertEqual(self.worse(loose, Row('n', 104, 'bytes', exact=True)), [False])

    def test_a_peer_may_get_slower(self):
        self.assertEqual(self.worse(Row('t', 1.0, 's', peer=True), Row('t', 9.0, 's', peer=True)), [False])

    def test_what_was_nothing_and_is_something_is_worse(self):
        self.assertEqual(self.worse(Row('n', 0, '', exact=True), Row('n', 1, '', exact=True)), [True])

    def test_a_row_that_is_gone_is_told(self):
        compared = baseline.compare({'p': result_of(Row('n', 1, '', exact=True))}, {'p': result_of(Row('m', 1, '', exact=True))}, 0.1, 0)
        self.assertIn('gone', baseline.table(compared))


class Writing(unittest.TestCase):
    def test_results_are_read_as_they_were_written(self):
        written = {'p': result_of(Row('a "b"', 1.25, 's', limit=2, repeats=3, warmup=1), Row('n', 0, '', exact=True))}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'x', 'results.json')
            results.write(path, written)
            self.assertEqual(results.read(path), written)

    def test_results_over_another_link_have_a_name_of_their_own(self):
        before = os.environ.pop('LINK', None)
        try:
            self.assertEqual(programs.title('peers_read'), 'peers_read')
            os.environ['LINK'] = 'mobile'
            self.assertEqual(programs.title('peers_read'), 'peers_read.mobile')
            self.assertEqual(programs.title('small_pull'), 'small_pull')
        finally:
            os.environ.pop('LINK')
            if before is not None:
                os.environ['LINK'] = before

    def test_the_page_has_every_row_and_pictures_are_xml(self):
        measured = {'p': result_of(Row('a < b', 3.0, 's', limit=2, repeats=3, warmup=1), Row('v', 6, 'x', least=7, repeats=3, warmup=1),
                                   Row('n', 0, '', limit=0, exact=True))}
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, 'results.md')
            report.write(page, measured)
            with open(page, encoding='utf-8') as file:
                text = file.read()
            self.assertIn('| a < b | 3 | s | 2 (over) | 3 |', text)
            self.assertIn('| v | 6 | x | at least 7 (below) | 3 |', text)
            self.assertIn('| n | 0 |  | 0 | exact |', text)
            for name in ('results.svg', 'results/p.svg'):
                picture = xml.etree.ElementTree.parse(os.path.join(folder, name))
                colours = [rect.get('fill') for rect in picture.iter('{http://www.w3.org/2000/svg}rect')]
                self.assertEqual(colours.count(chart.BEYOND), 2)


class Stacks(unittest.TestCase):
    def test_names_lose_what_makes_them_long(self):
        self.assertEqual(stacks.short('rsyncfs::(anonymous namespace)::Query<std::vector<int>>::run(int, char const*)'), 'Query::run')

    def test_a_flame_graph_shows_what_calls_what(self):
        picture = xml.etree.ElementTree.fromstring(stacks.flame_graph({('thread', 'main', 'f'): 3, ('thread', 'main', 'g<'): 1}, 'a title'))
        said = [each.text for each in picture.iter('{http://www.w3.org/2000/svg}title')]
        self.assertEqual(sorted(said), ['all: 100.00 %', 'f: 75.00 %', 'g<: 25.00 %', 'main: 100.00 %', 'thread: 100.00 %'])

    def test_functions_are_listed_by_their_part(self):
        table = stacks.by_function({('thread', 'main', 'f'): 3, ('thread', 'main', 'g'): 1})
        self.assertIn(' 75.00  f', table)
        self.assertIn('100.00  main', table)


if __name__ == '__main__':
    unittest.main()
