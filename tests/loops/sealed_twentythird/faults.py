from .faults_1 import FAULTS_1
from .faults_2 import FAULTS_2
from .faults_3 import FAULTS_3
from .faults_4 import FAULTS_4
from .faults_5 import FAULTS_5

FAULTS = FAULTS_1 + FAULTS_2 + FAULTS_3 + FAULTS_4 + FAULTS_5
